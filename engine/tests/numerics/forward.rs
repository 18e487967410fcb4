//! The forward pass: against the published formulas in f64, and its ways of computing against each other.

use qwen_tui::args::models::LINEAR_LAYERS;
use qwen_tui_engine::model::weights::Named;
use qwen_tui_engine::model::{KvCache, Mode, Packed, Qwen};
use qwen_tui_engine::train::step::{self, Limits, WeightedRow};
use rand_mt::Mt;
use tch::{Device, Kind, Tensor};

use crate::oracle::{TRAINING, to_f64};
use crate::{ALPHA, RANK, Small, dice, distance, largest, row, uneven_rows};

const TRAIN: Mode = Mode { train: true, lora_dropout: 0.0, neftune_alpha: 0.0, seed: 0 };

fn logits(model: &Qwen, rows: &[&[u32]], mode: &Mode) -> Tensor {
    tch::no_grad(|| {
        let batch = Packed::new(rows, 0, Device::Cpu);
        model.logits(&model.final_norm(&model.hidden(&batch, mode)))
    })
}

/// Rows within a context of 16 tokens and far beyond it: rotation, dynamic NTK, log-n scaling, norms, SwiGLU.
#[test]
fn logits_are_those_of_the_published_formulas() {
    let small = Small::short(16);
    let (model, oracle) = (small.plain(), small.oracle());
    let mut random = Mt::new(2);
    for length in [1, 2, 15, 16, 17, 32, 33, 64, 65, 100] {
        let ids = row(&mut random, length, 1).ids;
        let context = oracle.context(length);
        let answering = largest(&logits(&model, &[&ids], &Mode::default()), &oracle.logits(&ids, context));
        let training = largest(&logits(&model, &[&ids], &TRAIN), &oracle.logits(&ids, TRAINING));
        println!(
            "{length} tokens (NTK alpha {}): largest difference {answering:.1e}, in training {training:.1e}",
            context.ntk_alpha
        );
        assert!(answering < 3e-5 && training < 3e-5);
    }
    // The formulas do something, or the test above would prove nothing about them.
    let ids = row(&mut random, 40, 1).ids;
    assert!(distance(&logits(&model, &[&ids], &TRAIN), &logits(&model, &[&ids], &Mode::default())) > 0.01);
    let mut off = Small::short(16);
    (off.config.use_dynamic_ntk, off.config.use_logn_attn) = (false, false);
    assert!(
        distance(&logits(&off.plain(), &[&ids], &Mode::default()), &logits(&model, &[&ids], &TRAIN)) < 1e-7
    );
}

/// alpha / rank = 3 on every linear layer; were the base scaled too, nothing would agree.
#[test]
fn an_adapter_adds_its_scaled_update_and_leaves_the_base_alone() {
    let _dice = dice();
    let small = Small::new(&[]);
    let adapter = small.lora(&LINEAR_LAYERS);
    let oracle = small.oracle().with(&adapter.export(Kind::Float), ALPHA / RANK as f64);
    let model = adapter.assemble(&small.config, &small.base);
    let ids = row(&mut Mt::new(4), 30, 1).ids;
    let adapted = logits(&model, &[&ids], &Mode::default());
    let worst = largest(&adapted, &oracle.logits(&ids, TRAINING));
    let change = distance(&adapted, &logits(&small.plain(), &[&ids], &Mode::default()));
    println!("LoRA on all layers: largest difference {worst:.1e}; it changes the logits by {change:.2}");
    assert!(worst < 3e-5 && change > 0.1);
}

#[test]
fn a_row_in_a_batch_has_the_logits_it_has_alone() {
    let small = Small::new(&[]);
    let model = small.plain();
    let rows = uneven_rows();
    let ids: Vec<&[u32]> = rows.iter().map(|r| r.ids.as_slice()).collect();
    let together = logits(&model, &ids, &TRAIN);
    let alone: Vec<Tensor> = ids.iter().map(|ids| logits(&model, &[ids], &TRAIN)).collect();
    let apart = distance(&together, &Tensor::cat(&alone, 0));
    println!("16 rows in one batch: relative distance {apart:.1e}");
    assert!(apart < 1e-6);
}

/// Rows beyond the context have an alpha of their own each, so a plan of an evaluation leaves each alone.
#[test]
fn an_evaluation_gives_each_row_the_alpha_of_its_length() {
    let small = Small::short(16);
    let (model, oracle) = (small.plain(), small.oracle());
    let examples = uneven_rows();
    let rows: Vec<WeightedRow<'_>> = examples
        .iter()
        .map(|r| WeightedRow { ids: &r.ids, labels: &r.labels, weight: 1.0, number: 0 })
        .collect();
    let expected: f64 = examples
        .iter()
        .flat_map(|r| oracle.label_logps(&r.ids, &r.labels, oracle.context(r.ids.len())))
        .map(|logp| -logp)
        .sum();
    let limits = Limits { tokens: 1 << 20, targets: 1 << 20 };
    let mut loss = 0.0;
    for batch in step::plan(&rows, limits, Some(16)) {
        let part: Vec<WeightedRow<'_>> = batch.iter().map(|&i| rows[i]).collect();
        loss += step::forward(&model, &part, &Mode::default()).outcome().loss;
    }
    println!("loss of an evaluation: {loss}, in f64 {expected}");
    assert!((loss - expected).abs() < 1e-6 * expected);
}

/// A token at a time against whole rows; beyond the context the prompt's alpha stays, as in the published model.
#[test]
fn cached_steps_have_the_logits_of_the_whole_row() {
    let small = Small::short(16);
    let (model, oracle) = (small.plain(), small.oracle());
    for (prompt, length) in [(1, 16), (9, 16), (10, 40), (20, 40), (40, 50)] {
        let ids = row(&mut Mt::new(length as u32), length, 1).ids;
        let expected = oracle.logits(&ids, oracle.context(prompt));
        let whole = (length <= 16).then(|| logits(&model, &[&ids], &Mode::default()));
        let mut cache = KvCache::new();
        let (mut worst, mut apart) = (0f64, 0f64);
        for end in prompt..=length {
            let new = if end == prompt { &ids[..prompt] } else { &ids[end - 1..end] };
            let step = tch::no_grad(|| model.step(new, &mut cache));
            worst = worst.max(largest(&step, &expected[end - 1..end]));
            if let Some(whole) = &whole {
                let row = whole.narrow(0, end as i64 - 1, 1);
                apart = apart.max((step - row).abs().max().double_value(&[]));
            }
        }
        assert_eq!(cache.seen(), length as i64);
        println!(
            "prompt of {prompt}, then to {length} tokens: largest difference from f64 {worst:.1e}, whole {apart:.1e}"
        );
        assert!(worst < 3e-5 && apart < 1e-5);
    }
}

/// Several tokens at once after a cache see no token to their right.
#[test]
fn a_cached_model_reads_several_tokens_at_once() {
    let small = Small::new(&[]);
    let (model, oracle) = (small.plain(), small.oracle());
    let ids = row(&mut Mt::new(8), 20, 1).ids;
    let mut cache = KvCache::new();
    let _ = tch::no_grad(|| model.step(&ids[..8], &mut cache));
    let step = tch::no_grad(|| model.step(&ids[8..], &mut cache));
    let worst = largest(&step, &oracle.logits(&ids, TRAINING)[19..]);
    println!("8 tokens, then 12: largest difference {worst:.1e}");
    assert!(worst < 3e-5);
}

/// The noise of bf16: a rounding is at most 2^-8 of a value, and of 2 blocks with 12 roundings each between input
/// and output, those of a chain add up like a random walk: sqrt(24) * 2^-8 = 1.9%. The weights are rounded in both.
pub const BF16_NOISE: f64 = 4.899 / 256.0;

#[test]
fn bf16_is_fp32_up_to_its_rounding() {
    let small = Small::new(&[]);
    let narrow: Named =
        small.base.iter().map(|(name, t)| (name.clone(), t.to_kind(Kind::BFloat16))).collect();
    let wide: Named = narrow.iter().map(|(name, t)| (name.clone(), t.to_kind(Kind::Float))).collect();
    let assemble = |base| Qwen::assemble(&small.config, base, &Default::default(), Default::default());
    let (narrow, wide) = (assemble(&narrow), assemble(&wide));
    let examples = uneven_rows();
    let ids: Vec<&[u32]> = examples.iter().map(|r| r.ids.as_slice()).collect();
    let batch = Packed::new(&ids, 0, Device::Cpu);
    let hidden = |model: &Qwen| tch::no_grad(|| model.final_norm(&model.hidden(&batch, &TRAIN)));
    let (a, b) = (hidden(&narrow), hidden(&wide));
    assert_eq!((a.kind(), b.kind()), (Kind::BFloat16, Kind::Float));
    let noise = distance(&a, &b);
    let weight = 1.0 / examples.iter().map(|r| step::count_targets(&r.labels)).sum::<usize>() as f64;
    let rows: Vec<WeightedRow<'_>> =
        examples.iter().map(|r| WeightedRow { ids: &r.ids, labels: &r.labels, weight, number: 0 }).collect();
    let (a, b) = (
        step::forward(&narrow, &rows, &TRAIN).outcome().loss,
        step::forward(&wide, &rows, &TRAIN).outcome().loss,
    );
    println!("bf16: hidden states {noise:.4} of {BF16_NOISE:.4}; loss {a:.4}, in fp32 {b:.4}");
    assert!(noise < BF16_NOISE && noise > 1e-4);
    assert!((a - b).abs() < BF16_NOISE * b);
}

/// The final norm of what the model computes, as plain numbers.
#[test]
fn hidden_states_are_those_of_the_published_formulas() {
    let small = Small::new(&[]);
    let (model, oracle) = (small.plain(), small.oracle());
    let ids = row(&mut Mt::new(6), 25, 1).ids;
    let batch = Packed::new(&[&ids], 0, Device::Cpu);
    let ours = tch::no_grad(|| model.final_norm(&model.hidden(&batch, &TRAIN)));
    assert!(largest(&ours, &oracle.hidden(&ids, TRAINING)) < 1e-5);
    assert!(to_f64(&ours).iter().all(|x| x.is_finite()));
}
