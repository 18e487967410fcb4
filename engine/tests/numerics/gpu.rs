//! The gradient and an evaluation on a GPU; where there is none, that is said and nothing is tried.

use qwen_tui::args::models::LINEAR_LAYERS;
use qwen_tui_engine::device;
use qwen_tui_engine::model::weights::{self, Named};
use qwen_tui_engine::model::{Mode, Packed, Qwen};
use qwen_tui_engine::train::step::{self, WeightedRow};
use tch::{Device, Kind, Tensor};

use crate::forward::BF16_NOISE;
use crate::{Small, dice, distance, uneven_rows};

const MODE: Mode = Mode { train: true, lora_dropout: 0.3, neftune_alpha: 2.0, seed: 5 };

/// fp32 on the GPU is fp32 on the CPU; in bf16 and fp16, blocks with their gradients written down are as near to it as
/// autograd's, whose roundings are of the same size and not the same.
#[test]
fn a_gpu_has_the_cpus_gradient_up_to_its_rounding() {
    let _dice = dice();
    if let Err(why) = device::load_cuda() {
        eprintln!("skipped: {why}");
        return;
    }
    let small = Small::new(&[]);
    let gpu = Device::Cuda(0);
    let examples = uneven_rows();
    let rows: Vec<WeightedRow<'_>> = examples
        .iter()
        .zip(0..)
        .map(|(r, number)| {
            let weight = 1.0 / (step::count_targets(&r.labels) * examples.len()) as f64;
            WeightedRow { ids: &r.ids, labels: &r.labels, weight, number }
        })
        .collect();
    let gradient = |base: &Named, on: Device, kind: Kind, written: bool| {
        let mut trainable = small.lora_on(base, on, &LINEAR_LAYERS);
        trainable.compute_in(kind);
        trainable.refresh();
        let model: Qwen = if written {
            trainable.explicit(&small.config, base).unwrap()
        } else {
            trainable.assemble(&small.config, base)
        };
        assert_eq!(model.has_explicit_gradient(&MODE), written);
        let loss = step::forward_backward(&model, &rows, &MODE, false).outcome().loss;
        (loss, trainable.grad().to_device(Device::Cpu).to_kind(Kind::Double))
    };
    for kind in [Kind::Float, Kind::BFloat16, Kind::Half] {
        let there = weights::load(&small.model_dir(), &small.config, kind, gpu).unwrap();
        // The same weights, rounded as they are on the GPU.
        let here: Named = there
            .iter()
            .map(|(name, t)| (name.clone(), t.to_kind(Kind::Float).to_device(Device::Cpu)))
            .collect();
        let (expected_loss, expected): (f64, Tensor) = gradient(&here, Device::Cpu, Kind::Float, false);
        let (loss, by_autograd) = gradient(&there, gpu, kind, false);
        let rounding = distance(&by_autograd, &expected);
        println!(
            "{kind:?}: loss {loss}, on the CPU {expected_loss}; gradient by autograd {rounding:.1e} apart"
        );
        if kind == Kind::Float {
            assert!((loss - expected_loss).abs() < 1e-5 * expected_loss && rounding < 1e-4);
            continue;
        }
        let (loss, found) = gradient(&there, gpu, kind, true);
        let apart = distance(&found, &expected);
        println!("{kind:?}: loss {loss}; gradient as written down {apart:.1e} apart");
        assert!((loss - expected_loss).abs() < 0.02 * expected_loss);
        assert!(apart < rounding.max(0.01) * 1.5 && apart < 0.15 && apart > 0.0);
    }
}

/// Attention without padding over rows whose beginnings are computed once.
#[test]
fn an_evaluation_on_a_gpu_is_the_cpus_up_to_its_rounding() {
    let _dice = dice();
    if let Err(why) = device::load_cuda() {
        eprintln!("skipped: {why}");
        return;
    }
    let small = Small::new(&[]);
    let mut examples = uneven_rows();
    for row in examples.iter_mut().filter(|row| row.ids.len() > 20) {
        row.ids[..20].fill(65);
    }
    let weight = 1.0 / examples.iter().map(|r| step::count_targets(&r.labels)).sum::<usize>() as f64;
    let rows: Vec<WeightedRow<'_>> =
        examples.iter().map(|r| WeightedRow { ids: &r.ids, labels: &r.labels, weight, number: 0 }).collect();
    let ids: Vec<&[u32]> = examples.iter().map(|r| r.ids.as_slice()).collect();
    let there = weights::load(&small.model_dir(), &small.config, Kind::BFloat16, Device::Cuda(0)).unwrap();
    let here: Named =
        there.iter().map(|(name, t)| (name.clone(), t.to_kind(Kind::Float).to_device(Device::Cpu))).collect();
    let [gpu, cpu] = [&there, &here]
        .map(|base| Qwen::assemble(&small.config, base, &Default::default(), Default::default()));
    let mode = Mode::default();
    let (shared, filled) = (Packed::shared(&ids, gpu.device()), Packed::filled(&ids, gpu.device()));
    assert!(shared.is_shared());
    let places = ids.iter().map(|row| row.len()).sum();
    let at: Vec<i64> = (0..places).map(|place| shared.token_at(place)).collect();
    let at = Tensor::from_slice(&at).to_device(gpu.device());
    let apart = tch::no_grad(|| {
        let whole = gpu.final_norm(&gpu.encode(&shared, &mode).index_select(0, &at));
        distance(&whole, &gpu.final_norm(&gpu.encode(&filled, &mode).narrow(0, 0, places as i64)))
    });
    let [loss, expected] = [gpu, cpu].map(|model| step::forward(&model, &rows, &mode).outcome().loss);
    println!("bf16: hidden states {apart:.1e} from those of whole rows; loss {loss}, on the CPU {expected}");
    assert!(apart < BF16_NOISE && (loss - expected).abs() < 0.02 * expected);
}
