//! Loss and gradient: of batches against single rows, against slopes in f64, with recomputation, of a whole step.

use std::collections::BTreeMap;

use qwen_tui::args::models::LINEAR_LAYERS;
use qwen_tui::data::template::Example;
use qwen_tui::data::{Row, Template, Tokenizer};
use qwen_tui::job::event::Event;
use qwen_tui_engine::model::{Mode, Packed, Qwen, Trainable, weights};
use qwen_tui_engine::train::optimizer;
use qwen_tui_engine::train::step::{self, Limits, WeightedRow};
use serde_json::json;
use tch::{Device, Kind, Reduction, Tensor};

use crate::common::{tensors, train};
use crate::oracle::{Arrays, Oracle, TRAINING, to_f64};
use crate::{ALPHA, RANK, Small, dice, distance, uneven_rows};

const TRAIN: Mode = Mode { train: true, lora_dropout: 0.0, neftune_alpha: 0.0, seed: 0 };
const WIDE: Limits = Limits { tokens: 1 << 20, targets: 1 << 20 };

/// Each row's mean loss counts one part of all, as with micro-batches of one row.
fn weighted(examples: &[Example]) -> Vec<WeightedRow<'_>> {
    let weight = |r: &Example| 1.0 / (step::count_targets(&r.labels) * examples.len()) as f64;
    examples
        .iter()
        .zip(0..)
        .map(|(r, number)| WeightedRow { ids: &r.ids, labels: &r.labels, weight: weight(r), number })
        .collect()
}

/// The model that the recipe takes: with its gradient written down where it has one.
fn model(small: &Small, trainable: &mut Trainable, mode: &Mode) -> Qwen {
    trainable.refresh();
    let explicit = trainable.explicit(&small.config, &small.base);
    explicit
        .filter(|m| m.has_explicit_gradient(mode))
        .unwrap_or_else(|| trainable.assemble(&small.config, &small.base))
}

/// Loss and gradient of `rows`, split as `limits` ask.
fn gradient(
    small: &Small,
    trainable: &mut Trainable,
    rows: &[WeightedRow<'_>],
    limits: Limits,
    mode: &Mode,
    recompute: bool,
) -> (f64, Tensor) {
    trainable.zero_grad();
    let mut loss = 0.0;
    for batch in step::plan(rows, limits, None) {
        let part: Vec<WeightedRow<'_>> = batch.iter().map(|&i| rows[i]).collect();
        let model = model(small, trainable, mode);
        loss += step::forward_backward(&model, &part, mode, recompute).outcome().loss;
    }
    (loss, trainable.grad())
}

#[test]
fn a_batch_has_the_gradient_of_its_rows_one_by_one() {
    let _dice = dice();
    let small = Small::new(&[]);
    let examples = uneven_rows();
    let rows = weighted(&examples);
    let full = || Trainable::full(&small.config, &small.base, 0.0, &[], Device::Cpu).unwrap();
    for (name, mut trainable) in [("LoRA", small.lora(&LINEAR_LAYERS)), ("full", full())] {
        let mut of =
            |rows: &[WeightedRow<'_>], limits| gradient(&small, &mut trainable, rows, limits, &TRAIN, false);
        let (loss, whole) = of(&rows, WIDE);
        let (mut sum, mut gradients) = (0.0, whole.zeros_like());
        for row in &rows {
            let (loss, gradient) = of(&[*row], WIDE);
            sum += loss;
            gradients += gradient;
        }
        let tight = Limits { tokens: 130, targets: 10 };
        assert!(step::plan(&rows, tight, None).len() > 6);
        let (split_loss, split) = of(&rows, tight);
        let (apart, apart_split) = (distance(&whole, &gradients), distance(&split, &gradients));
        println!(
            "{name}: one batch {apart:.1e} from row by row, split by limits {apart_split:.1e}; loss {loss}"
        );
        assert!(apart < 1e-5 && apart_split < 1e-5);
        assert!((loss - sum).abs() < 1e-6 * sum && (split_loss - sum).abs() < 1e-6 * sum);
    }
}

/// A flat gradient by the names of the trained tensors.
fn by_name(trainable: &Trainable, flat: &Tensor) -> Arrays {
    let sizes: BTreeMap<String, usize> =
        trainable.export(Kind::Float).into_iter().map(|(name, t)| (name, t.numel())).collect();
    let flat = to_f64(flat);
    let mut at = 0;
    trainable
        .names()
        .map(|name| {
            at += sizes[name];
            (name.to_owned(), flat[at - sizes[name]..at].to_vec())
        })
        .collect()
}

/// The slope of the f64 loss along a direction is the gradient's share in it. Along the gradient itself that is its
/// norm, and along any other direction less, so the gradient must be right as a whole.
#[test]
fn a_gradient_is_the_slope_of_the_loss_in_f64() {
    let _dice = dice();
    let small = Small::new(&[]);
    let examples: Vec<Example> = uneven_rows().into_iter().filter(|r| r.ids.len() < 40).collect();
    let rows = weighted(&examples);
    let loss = |oracle: &Oracle| -> f64 {
        rows.iter()
            .map(|r| -r.weight * oracle.label_logps(r.ids, r.labels, TRAINING).iter().sum::<f64>())
            .sum()
    };
    let adapter = small.lora(&LINEAR_LAYERS);
    let full = Trainable::full(&small.config, &small.base, 0.0, &[], Device::Cpu).unwrap();
    let adapted = small.oracle().with(&adapter.export(Kind::Float), ALPHA / RANK as f64);
    for (name, mut trainable, oracle) in [("LoRA", adapter, adapted), ("full", full, small.oracle())] {
        let (found, flat) = gradient(&small, &mut trainable, &rows, WIDE, &TRAIN, false);
        let expected = loss(&oracle);
        assert!((found - expected).abs() < 1e-6 * expected, "{found} {expected}");
        let flat = flat.to_kind(Kind::Double);
        let norm = flat.norm().double_value(&[]);
        let slope = |direction: &Tensor| {
            let direction = by_name(&trainable, direction);
            let e = 1e-5;
            (loss(&oracle.shifted(&direction, e)) - loss(&oracle.shifted(&direction, -e))) / (2.0 * e)
        };
        let along = slope(&(&flat / norm));
        // The gradient with signs drawn: half of its parts must cancel as they do in f64.
        let mixed = &flat * (flat.rand_like() - 0.5).sign() / norm;
        let (across, share) = (slope(&mixed), (&flat * &mixed).sum(Kind::Double).double_value(&[]));
        println!(
            "{name}: norm {norm}, slope in f64 {along} ({:.1e} apart); along mixed signs {share}, in f64 {across}",
            (norm - along).abs() / along
        );
        assert!((norm - along).abs() < 1e-5 * along);
        assert!((share - across).abs() < 1e-5 * norm);
    }
}

/// The blocks' gradients as they are written down against those that autograd finds, with dropout, adapters on all
/// linear layers or some, from the first block on or a later one.
#[test]
fn written_gradients_are_autograds() {
    let _dice = dice();
    let small = Small::new(&[]);
    let examples = uneven_rows();
    let rows = weighted(&examples);
    let last = format!("h.{}.mlp.w1", small.config.num_hidden_layers - 1);
    let some: [&[&str]; 6] =
        [&LINEAR_LAYERS, &["c_attn"], &["attn.c_proj"], &["w2"], &["mlp.c_proj"], &[last.as_str()]];
    for targets in some {
        let mut trainable = small.lora(targets);
        let mode = Mode { lora_dropout: 0.3, neftune_alpha: 2.0, seed: 5, ..TRAIN };
        let written = trainable.explicit(&small.config, &small.base).unwrap();
        assert!(written.has_explicit_gradient(&mode));
        let loss = step::forward_backward(&written, &rows, &mode, false).outcome().loss;
        let found = trainable.grad().copy();
        trainable.zero_grad();
        let differentiated = trainable.assemble(&small.config, &small.base);
        assert!(!differentiated.has_explicit_gradient(&mode));
        let expected_loss = step::forward_backward(&differentiated, &rows, &mode, false).outcome().loss;
        let expected = trainable.grad();
        let apart = distance(&found, &expected);
        println!("{targets:?}: loss {loss}, by autograd {expected_loss}; gradient {apart:.1e} apart");
        assert!((loss - expected_loss).abs() < 1e-6 * expected_loss && apart < 1e-5);
        assert!(expected.norm().double_value(&[]) > 1e-3);
    }
}

#[test]
fn recomputation_changes_no_gradient() {
    let _dice = dice();
    let mut small = Small::new(&[]);
    let examples = uneven_rows();
    let rows = weighted(&examples);
    let dropping = Mode { lora_dropout: 0.3, neftune_alpha: 2.0, seed: 77, ..TRAIN };
    let compare = |name: &str, small: &Small, mut trainable: Trainable, mode: &Mode| {
        let (loss, kept) = gradient(small, &mut trainable, &rows, WIDE, mode, false);
        let (again_loss, again) = gradient(small, &mut trainable, &rows, WIDE, mode, true);
        let apart = (&kept - &again).abs().max().double_value(&[]);
        println!(
            "{name}: largest difference {apart:.1e} of gradients of norm {:.2}",
            kept.norm().double_value(&[])
        );
        assert_eq!(loss, again_loss, "{name}");
        assert!(distance(&again, &kept) < 1e-6, "{name}");
        loss
    };
    let still = compare("LoRA", &small, small.lora(&LINEAR_LAYERS), &TRAIN);
    let dropped = compare("LoRA with dropout", &small, small.lora(&LINEAR_LAYERS), &dropping);
    assert!((still - dropped).abs() > 1e-3, "nothing was dropped");
    let full = |small: &Small| Trainable::full(&small.config, &small.base, 0.0, &[], Device::Cpu).unwrap();
    let still = compare("full", &small, full(&small), &dropping);
    (small.config.attn_dropout_prob, small.config.emb_dropout_prob) = (0.2, 0.1);
    let dropped = compare("full with dropout of attention and embedding", &small, full(&small), &dropping);
    assert!((still - dropped).abs() > 1e-3, "nothing was dropped");
    small.config.tie_word_embeddings = true;
    small.base.remove("lm_head.weight");
    compare("full, tied embeddings", &small, full(&small), &dropping);
}

/// How a step is split is the memory's affair: each row drops the same elements, and has the same noise, in whatever
/// company.
#[test]
fn a_split_changes_no_dropout() {
    let _dice = dice();
    let mut small = Small::new(&[]);
    (small.config.attn_dropout_prob, small.config.emb_dropout_prob) = (0.2, 0.1);
    let examples = uneven_rows();
    let rows = weighted(&examples);
    let mut adapter = small.lora(&LINEAR_LAYERS);
    let mut of = |tokens, seed| {
        let mode = Mode { lora_dropout: 0.3, neftune_alpha: 2.0, seed, ..TRAIN };
        gradient(&small, &mut adapter, &rows, Limits { tokens, ..WIDE }, &mode, false)
    };
    let (loss, whole) = of(1 << 20, 7);
    for tokens in [1, 130, 500] {
        let (split_loss, split) = of(tokens, 7);
        let apart = distance(&split, &whole);
        println!(
            "passes of at most {tokens} tokens: loss {split_loss} against {loss}, gradient {apart:.1e} apart"
        );
        assert!((split_loss - loss).abs() < 1e-5 * loss && apart < 1e-5);
    }
    assert!(distance(&of(1 << 20, 8).1, &whole) > 0.1, "another seed dropped the same");
}

/// Mean cross entropy over the label tokens of some rows, by whole logits of each row.
fn micro_batch_loss(model: &Qwen, rows: &[Example]) -> Tensor {
    let (logits, labels): (Vec<Tensor>, Vec<Tensor>) = rows
        .iter()
        .map(|r| {
            let n = r.ids.len() as i64 - 1;
            let hidden = model.hidden(&Packed::new(&[&r.ids], 0, Device::Cpu), &TRAIN);
            (
                model.logits(&model.final_norm(&hidden)).narrow(0, 0, n),
                Tensor::from_slice(&r.labels).narrow(0, 1, n),
            )
        })
        .unzip();
    Tensor::cat(&logits, 0).cross_entropy_loss::<Tensor>(
        &Tensor::cat(&labels, 0),
        None,
        Reduction::Mean,
        -100,
        0.0,
    )
}

/// A step of 4 micro-batches of 4 rows with 2 to 17 label tokens, taken by the recipe itself. AdamW's first moment
/// after it is a tenth of the gradient.
#[test]
fn a_step_is_the_mean_of_its_micro_batches_means() {
    let _dice = dice();
    let small = Small::new(&[]);
    let path = |name: &str| small.dir.path().join(name).to_str().unwrap().to_owned();
    let rows: Vec<Row> = (0..16usize)
        .map(|i| {
            Row::new("query ".repeat(1 + i * 7 % 5), "answer of some length"[..1 + i * i % 17].to_owned())
        })
        .collect();
    let lines: String =
        rows.iter().map(|r| json!({"query": r.query, "response": r.response}).to_string() + "\n").collect();
    std::fs::write(path("train.jsonl"), lines).unwrap();
    let mut adapter = small.lora(&["c_attn", "w2"]);
    weights::save(path("start.safetensors").as_ref(), &adapter.export(Kind::Float)).unwrap();
    let (model, rank, alpha) = (path("model"), RANK.to_string(), ALPHA.to_string());
    #[rustfmt::skip]
    let (run, events) = train(&[
        "--model_type", "qwen-1_8b", "--model_id_or_path", &model, "--template_type", "default-generation",
        "--dtype", "fp32", "--device", "cpu", "--custom_train_dataset_path", &path("train.jsonl"),
        "--train_dataset_sample", "-1", "--dataset_test_ratio", "0", "--train_sampler_random", "false",
        "--init_adapter", &path("start.safetensors"), "--lora_target_modules", "c_attn", "w2",
        "--lora_rank", &rank, "--lora_alpha", &alpha, "--lora_dropout_p", "0", "--batch_size", "4",
        "--gradient_accumulation_steps", "4", "--max_steps", "1", "--max_grad_norm", "0",
        "--save_only_model", "false", "--output_dir", &path("out"),
    ]);
    let (loss, norm, acc) = events
        .iter()
        .find_map(|e| match e {
            Event::Step { loss, grad_norm, acc, .. } => Some((*loss, *grad_norm, *acc)),
            _ => None,
        })
        .unwrap();
    let moments = tensors(&run.checkpoint(1).join("optimizer.safetensors"));

    let tokenizer = Tokenizer::load(&small.model_dir()).unwrap();
    let template = Template::new("default-generation", None).unwrap();
    let examples: Vec<Example> = rows
        .iter()
        .map(|r| template.encode(&tokenizer, r, None, qwen_tui::data::template::Truncation::Delete).unwrap())
        .collect();
    let model = adapter.assemble(&small.config, &small.base);
    let means: Vec<Tensor> = examples.chunks(4).map(|rows| micro_batch_loss(&model, rows)).collect();
    let expected = Tensor::stack(&means, 0).mean(Kind::Float);
    adapter.zero_grad();
    expected.backward();
    let (expected, gradient) = (expected.double_value(&[]), adapter.grad());
    let apart = distance(&(&moments["exp_avg"] * 10.0), &gradient);
    println!("a step of 4 x 4 rows: loss {loss} against {expected}, gradient {apart:.1e} apart");
    assert!((loss - expected).abs() < 1e-6 * expected);
    assert!(apart < 1e-5 && (norm - gradient.norm().double_value(&[])).abs() < 1e-5 * norm);
    assert!((0.0..=1.0).contains(&acc));
    // One mean over all label tokens would be another number.
    let tokens = micro_batch_loss(&model, &examples).double_value(&[]);
    assert!((tokens - expected).abs() > 1e-4 * expected, "{tokens} {expected}");
}

/// As many numbers as a small model has weights; one long sum in fp32 is wrong in the fourth digit.
#[test]
fn the_norm_of_a_long_gradient_keeps_its_digits() {
    let mut random = rand_mt::Mt::new(1);
    let numbers: Vec<f32> = (0..3_000_001).map(|_| random.next_u32() as f32 / 4e9 - 0.5).collect();
    let expected = numbers.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
    let norm = optimizer::norm(&Tensor::from_slice(&numbers)).double_value(&[]);
    println!("norm of 3 million numbers: {norm}, in f64 {expected}");
    assert!((norm - expected).abs() < 1e-6 * expected);
}

/// A row of which truncation left one label token has nothing before it to predict it from.
#[test]
fn rows_without_a_prediction_weigh_nothing() {
    let _dice = dice();
    let small = Small::new(&[]);
    let mut adapter = small.lora(&["c_attn"]);
    let row = |length: usize| WeightedRow {
        ids: &[1, 2, 3][..length],
        labels: &[1, -100, 3][..length],
        weight: 1.0,
        number: 0,
    };
    for recompute in [false, true] {
        let (loss, alone) = gradient(&small, &mut adapter, &[row(1), row(2)], WIDE, &TRAIN, recompute);
        assert_eq!((loss, alone.norm().double_value(&[])), (0.0, 0.0));
        let (one, of_one) = gradient(&small, &mut adapter, &[row(3)], WIDE, &TRAIN, recompute);
        let (all, of_all) =
            gradient(&small, &mut adapter, &[row(1), row(3), row(2)], WIDE, &TRAIN, recompute);
        assert!((one - all).abs() < 1e-6 && distance(&of_all, &of_one) < 1e-5);
    }
}
