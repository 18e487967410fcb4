//! Dropout on an adapter's input: its distribution, and what its seed decides.

use std::collections::BTreeMap;

use qwen_tui::run::Bias;
use qwen_tui_engine::model::{LoraOptions, Mode, Packed, Qwen, Trainable};
use tch::{Device, Kind, Tensor};

use crate::common::Normal;
use crate::{Small, dice};

const P: f64 = 0.3;
const TOKENS: usize = 600;

fn mode(p: f64, seed: u64) -> Mode {
    Mode { train: true, lora_dropout: p, seed, ..Mode::default() }
}

/// A model whose adapter on `mlp.c_proj` adds its very input, dropout applied: A and B are as near to the identity
/// as their shapes allow, and the scale is 1.
fn telltale(small: &Small) -> Qwen {
    let (width, hidden) = (small.config.mlp_size(), small.config.hidden_size);
    let options = LoraOptions {
        targets: vec!["mlp.c_proj".into()],
        rank: width,
        alpha: width as f64,
        bias: Bias::None,
        modules_to_save: Vec::new(),
        kind: Kind::Float,
    };
    let mut made = Trainable::lora(&small.config, &small.base, &options, 0, Device::Cpu).unwrap();
    let eye = |rows: i64, columns: i64| Tensor::eye_m(rows, columns, (Kind::Float, Device::Cpu));
    let identity: BTreeMap<String, Tensor> = made
        .names()
        .map(|n| (n.to_owned(), if n.ends_with("A") { eye(width, width) } else { eye(hidden, width) }))
        .collect();
    made.import(&identity).unwrap();
    tch::no_grad(|| made.assemble(&small.config, &small.base))
}

/// What layer `i` adds by its adapter for two equal rows: `[2 * TOKENS, hidden]`.
fn update(small: &Small, model: &Qwen, i: usize, mode: &Mode) -> Tensor {
    tch::no_grad(|| {
        let row = vec![7u32; TOKENS];
        let batch = Packed::new(&[&row, &row], 0, Device::Cpu);
        let half = Normal::new(1).tensor(&[TOKENS as i64, small.config.hidden_size], 1.0, 0.0);
        let x = Tensor::cat(&[&half, &half], 0);
        let run = |model: &Qwen| {
            model.layer(i, &x, &batch, &model.rotary(&batch, 1.0, mode), mode, None).to_kind(Kind::Double)
        };
        run(model) - run(&small.plain())
    })
}

/// What each element of the adapter's input was multiplied by; elements too small to tell are left out (-1).
fn factors(small: &Small, model: &Qwen, i: usize, mode: &Mode) -> Vec<f64> {
    let still = Vec::<f64>::try_from(update(small, model, i, &self::mode(0.0, 0)).flatten(0, -1)).unwrap();
    let drawn = Vec::<f64>::try_from(update(small, model, i, mode).flatten(0, -1)).unwrap();
    let factor = |(x, y): (f64, f64)| if x.abs() > 0.02 { y / x } else { -1.0 };
    still.into_iter().zip(drawn).map(factor).collect()
}

#[test]
fn elements_are_dropped_by_their_probability_and_the_rest_makes_up_for_them() {
    let _dice = dice();
    let small = Small::new(&[]);
    let model = telltale(&small);
    let factors = factors(&small, &model, 0, &mode(P, 1));
    let told: Vec<f64> = factors.iter().copied().filter(|&f| f != -1.0).collect();
    let n = told.len() as f64;
    let dropped = told.iter().filter(|f| f.abs() < 1e-3).count() as f64 / n;
    let mean = told.iter().sum::<f64>() / n;
    let sigma = (P * (1.0 - P) / n).sqrt();
    println!("of {n} inputs {dropped:.4} dropped (4 sigma: {:.4}); mean factor {mean:.4}", 4.0 * sigma);
    assert!(n > 20_000.0);
    assert!(told.iter().all(|f| f.abs() < 1e-3 || (f - 1.0 / (1.0 - P)).abs() < 1e-3));
    assert!((dropped - P).abs() < 4.0 * sigma);
    assert!((mean - 1.0).abs() < 4.0 * sigma / (1.0 - P));
}

/// Share of elements, told in both, of which one is dropped and the other is not.
fn disagreement(a: &[f64], b: &[f64]) -> f64 {
    let told: Vec<_> = a.iter().zip(b).filter(|&(&a, &b)| a != -1.0 && b != -1.0).collect();
    let apart = told.iter().filter(|&(a, b)| (a.abs() < 1e-3) != (b.abs() < 1e-3)).count();
    apart as f64 / told.len() as f64
}

/// Independent masks disagree in 2 p (1 - p) = 42% of their elements.
#[test]
fn rows_layers_and_seeds_have_masks_of_their_own() {
    let _dice = dice();
    let small = Small::new(&[]);
    let model = telltale(&small);
    let first = factors(&small, &model, 0, &mode(P, 1));
    let (row, other_row) = first.split_at(first.len() / 2);
    let independent = 2.0 * P * (1.0 - P);
    for (what, share) in [
        ("rows", disagreement(row, other_row)),
        ("layers", disagreement(&first, &factors(&small, &model, 1, &mode(P, 1)))),
        ("seeds", disagreement(&first, &factors(&small, &model, 0, &mode(P, 2)))),
    ] {
        println!("masks of two {what} disagree in {share:.3}");
        assert!((share - independent).abs() < 0.03, "{what}: {share}");
    }
    assert_eq!(first, factors(&small, &model, 0, &mode(P, 1)));
}

#[test]
fn nothing_is_dropped_outside_training() {
    let _dice = dice();
    let small = Small::new(&[]);
    let model = telltale(&small);
    let answering = Mode { train: false, ..mode(P, 1) };
    assert!(update(&small, &model, 0, &answering) == update(&small, &model, 0, &mode(0.0, 0)));
}
