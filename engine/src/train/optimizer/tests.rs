use serde_json::Value;

use super::*;
use crate::model::trainable::is_decayed;

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
}

fn vector(value: &Value) -> Tensor {
    Tensor::from_slice(&numbers(value)).to_kind(Kind::Float)
}

fn settings(case: &Value) -> Settings {
    let (betas, optim) = (numbers(&case["betas"]), case["optim"].as_str().unwrap());
    let flags = ["--model_type", "qwen-7b", "--dataset", "a.csv", "--optim", optim].map(str::to_owned);
    let args = qwen_tui::args::load_sft(None, &flags).unwrap().args;
    let number = |key: &str| case[key].as_f64().unwrap();
    Settings {
        betas: (betas[0], betas[1]),
        eps: number("eps"),
        weight_decay: number("weight_decay"),
        ..Settings::from(&args)
    }
}

/// Steps that torch's and transformers' own optimizers took (tests/interop/optimizers.py).
struct Golden(Value);

impl Golden {
    fn read() -> Self {
        Self(serde_json::from_str(include_str!("../../../tests/data/optimizers.json")).unwrap())
    }

    fn cases(&self) -> &[Value] {
        self.0["cases"].as_array().unwrap()
    }

    fn names(&self) -> Vec<String> {
        serde_json::from_value(self.0["names"].clone()).unwrap()
    }

    fn shapes(&self) -> Vec<Vec<i64>> {
        serde_json::from_value(self.0["shapes"].clone()).unwrap()
    }

    fn start(&self) -> Tensor {
        vector(&self.0["start"])
    }

    /// Learning rate and gradient of each step.
    fn steps(&self) -> Vec<(f64, Tensor)> {
        let gradients = self.0["gradients"].as_array().unwrap().iter().map(vector);
        numbers(&self.0["learning_rates"]).into_iter().zip(gradients).collect()
    }

    /// An optimizer as in `case`, and how many elements have weight decay.
    fn optimizer(&self, case: &Value) -> (Optimizer, i64) {
        let (names, shapes) = (self.names(), self.shapes());
        let decayed: i64 =
            names.iter().zip(&shapes).filter(|(n, _)| is_decayed(n)).map(|(_, s)| numel(s)).sum();
        (Optimizer::new(settings(case), shapes, Device::Cpu), decayed)
    }
}

/// Largest difference of two vectors over the largest element of the second.
fn apart(a: &Tensor, b: &Tensor) -> f64 {
    (a - b).abs().max().double_value(&[]) / b.abs().max().double_value(&[])
}

#[test]
fn the_steps_are_those_of_transformers_trainer() {
    let golden = Golden::read();
    let mut seen = std::collections::BTreeSet::new();
    for case in golden.cases() {
        let (mut optimizer, decayed) = golden.optimizer(case);
        let theta = golden.start();
        let mut worst = 0f64;
        for ((rate, gradient), wanted) in golden.steps().iter().zip(case["theta"].as_array().unwrap()) {
            let before = theta.copy();
            optimizer.step(&theta, gradient, *rate, decayed);
            let wanted = vector(wanted);
            worst = worst.max(apart(&theta, &wanted));
            assert!(*rate == 0.0 || apart(&before, &wanted) > 1e-3, "the step tells nothing");
        }
        let optim = case["optim"].as_str().unwrap();
        println!("{optim} {:?}: largest relative difference {worst:.1e}", optimizer.settings);
        assert!(worst < 1e-6, "{optim}: {worst}");
        seen.insert(optim);
    }
    assert_eq!(seen.len(), 5);
}

/// Biases have none; norms have it, as their class is not one that transformers knows.
#[test]
fn the_weights_with_decay_are_those_of_transformers_trainer() {
    let golden = Golden::read();
    let ours: Vec<String> = golden.names().into_iter().filter(|name| is_decayed(name)).collect();
    assert!(ours.contains(&"ln_1.weight".to_owned()) && ours.len() < golden.names().len());
    for case in golden.cases() {
        let theirs: Vec<String> = serde_json::from_value(case["decayed"].clone()).unwrap();
        assert_eq!(ours, theirs);
    }
}

/// A state that is put into a fresh optimizer takes the same steps, to the last bit.
#[test]
fn a_state_comes_back() {
    let golden = Golden::read();
    let steps = golden.steps();
    for case in golden.cases() {
        let (mut first, decayed) = golden.optimizer(case);
        let (mut second, _) = golden.optimizer(case);
        let theta = golden.start();
        steps[..3].iter().for_each(|(rate, gradient)| first.step(&theta, gradient, *rate, decayed));
        let copy = theta.copy();
        let saved: Vec<(&str, Tensor)> = first.state().map(|(name, t)| (name, t.copy())).collect();
        let read = |name: &str, like: &Tensor| {
            let (_, tensor) = saved.iter().find(|(n, _)| *n == name).ok_or(())?;
            assert_eq!(tensor.size(), like.size());
            Ok::<_, ()>(tensor.copy())
        };
        second.restore(first.steps, read).unwrap();
        for (rate, gradient) in &steps[3..] {
            first.step(&theta, gradient, *rate, decayed);
            second.step(&copy, gradient, *rate, decayed);
        }
        assert!(theta == copy, "{}", case["optim"]);
        let missing = second.restore(9, |_, _| Err(()));
        assert!(saved.is_empty() || (missing.is_err() && second.steps == 6));
    }
}

#[test]
fn clipping_leaves_a_small_gradient_alone() {
    let g = Tensor::from_slice(&[3.0f32, 4.0]);
    let norm_of = |g: &Tensor| norm(g).double_value(&[]);
    assert_eq!(norm_of(&g), 5.0);
    assert_eq!(norm_of(&Tensor::ones([1 << 15], (Kind::Float, Device::Cpu))), 2f64.powi(15).sqrt());
    assert_eq!(norm_of(&clip(&g, &norm(&g), 10.0)), 5.0);
    assert_eq!(norm_of(&clip(&g, &norm(&g), 0.0)), 5.0);
    assert!((norm_of(&clip(&g, &norm(&g), 0.5)) - 0.5).abs() < 1e-6);
}
