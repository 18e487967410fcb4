//! NEFTune's noise on the embeddings: its bounds, its distribution, and what it depends on.

use qwen_tui_engine::model::{Mode, Packed, Qwen};
use tch::{Device, Kind, Tensor};

use crate::Small;

const ALPHA: f64 = 5.0;

fn mode(seed: u64) -> Mode {
    Mode { train: true, neftune_alpha: ALPHA, seed, ..Mode::default() }
}

/// The noise of rows of these lengths, numbered as given: `[tokens, h]`, in units of ALPHA / sqrt(h).
fn noise(model: &Qwen, rows: &[(usize, u64)], mode: &Mode) -> Tensor {
    let ids: Vec<Vec<u32>> = rows.iter().map(|&(n, _)| (0..n as u32).map(|i| i % 200).collect()).collect();
    let ids: Vec<&[u32]> = ids.iter().map(Vec::as_slice).collect();
    let batch = Packed::new(&ids, 0, Device::Cpu).numbered(rows.iter().map(|&(_, number)| number));
    let h = model.config().hidden_size as f64;
    tch::no_grad(|| {
        let plain = model.embed(&batch, &Mode { neftune_alpha: 0.0, ..*mode }).to_kind(Kind::Double);
        (model.embed(&batch, mode).to_kind(Kind::Double) - plain) * (h.sqrt() / ALPHA)
    })
}

fn moments(x: &Tensor) -> (f64, f64, f64) {
    let mean = |x: Tensor| x.mean(Kind::Double).double_value(&[]);
    (mean(x.shallow_clone()), mean(x.square()), mean(x.square().square()))
}

/// Uniform within 1 / sqrt(length): mean 0, square 1/3, fourth power 1/5 of the bound's.
#[test]
fn the_noise_is_uniform_within_the_bound_of_its_own_row() {
    let small = Small::new(&[]);
    let model = small.plain();
    let lengths = [7usize, 150, 600];
    let all = noise(&model, &[(7, 0), (150, 1), (600, 2)], &mode(1));
    let mut at = 0;
    for n in lengths {
        let row = all.narrow(0, at, n as i64) * (n as f64).sqrt();
        at += n as i64;
        let largest = row.abs().max().double_value(&[]);
        let (mean, square, fourth) = moments(&row);
        let sigma = 1.0 / (row.numel() as f64).sqrt();
        println!("{n} tokens: largest {largest:.4}, moments {mean:.4} {square:.4} {fourth:.4}");
        // fp32 embeddings of size 1 leave 1e-6 of the noise undecided.
        assert!(largest < 1.0 + 1e-4 && largest > 1.0 - 20.0 * sigma * sigma, "{largest}");
        assert!(mean.abs() < 4.0 * sigma * (1f64 / 3.0).sqrt());
        assert!((square - 1.0 / 3.0).abs() < 4.0 * sigma * (4f64 / 45.0).sqrt());
        assert!((fourth - 0.2).abs() < 4.0 * sigma * (16f64 / 225.0).sqrt());
    }
}

/// A row has the same noise alone and beside a longer one, and another in another step, seed or place.
#[test]
fn a_rows_noise_is_its_own() {
    let small = Small::new(&[]);
    let model = small.plain();
    let alone = noise(&model, &[(40, 3)], &mode(1));
    let beside = noise(&model, &[(300, 0), (40, 3)], &mode(1)).narrow(0, 300, 40);
    assert!((&alone - &beside).abs().max().double_value(&[]) < 1e-6);
    let correlation = |a: &Tensor, b: &Tensor| {
        (a * b).mean(Kind::Double).double_value(&[]) / a.square().mean(Kind::Double).double_value(&[])
    };
    let limit = 4.0 / (alone.numel() as f64).sqrt();
    for (what, other) in [
        ("row", noise(&model, &[(40, 4)], &mode(1))),
        ("seed", noise(&model, &[(40, 3)], &mode(2))),
        ("token", alone.roll([1], [0])),
        ("column", alone.roll([1], [1])),
    ] {
        let found = correlation(&alone, &other);
        println!("another {what}: correlation {found:.3}, limit {limit:.3}");
        assert!(found.abs() < limit, "{what}: {found}");
    }
}

#[test]
fn there_is_none_outside_training() {
    let small = Small::new(&[]);
    let still = Mode { train: false, ..mode(1) };
    assert_eq!(noise(&small.plain(), &[(9, 0)], &still).abs().max().double_value(&[]), 0.0);
}
