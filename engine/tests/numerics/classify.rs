//! Label probabilities against the label words' log-probabilities in f64, and in bf16 against fp32.

use qwen_tui::data::{LABELS, Row, Template, Tokenizer, sentiment_prompt};
use qwen_tui::error::Error;
use qwen_tui_engine::infer::Session;
use qwen_tui_engine::infer::classify::Verdict;
use qwen_tui_engine::infer::generate::Generation;
use qwen_tui_engine::model::Qwen;
use qwen_tui_engine::model::weights::Named;
use rand_mt::Mt;
use tch::{Device, Kind};

use crate::Small;
use crate::forward::BF16_NOISE;
use crate::oracle::{Oracle, TRAINING, to_f64};

fn session(small: &Small, base: &Named) -> Session {
    Session {
        model: Qwen::assemble(&small.config, base, &Default::default(), Default::default()),
        tokenizer: Tokenizer::load(&small.model_dir()).unwrap(),
        template: Template::new("default-generation", None).unwrap(),
        device: Device::Cpu,
    }
}

/// Texts of very different length, in no order.
fn texts(count: usize) -> Vec<String> {
    let words = ["好", "很不错，", "bad ", "质量太差", "12", "!"];
    let mut random = Mt::new(3);
    (0..count)
        .map(|i| (0..i * 7 % 23).map(|_| words[random.next_u32() as usize % words.len()]).collect())
        .collect()
}

/// ln P(positive) - ln P(negative).
fn odds(verdict: &Verdict) -> f64 {
    let p = |label: &str| verdict.probabilities[label].as_f64().unwrap();
    assert!((p(LABELS[0]) + p(LABELS[1]) - 1.0).abs() < 1e-9);
    p(LABELS[1]).ln() - p(LABELS[0]).ln()
}

fn oracle_odds(oracle: &Oracle, session: &Session, text: &str) -> f64 {
    let prompt = session.template.encode_prompt(&session.tokenizer, &Row::new(sentiment_prompt(text), ""));
    let [negative, positive] = LABELS.map(|label| {
        let word = session.tokenizer.encode(label);
        let mut labels = vec![-100; prompt.len()];
        labels.extend(word.iter().map(|&id| i64::from(id)));
        oracle.label_logps(&[prompt.clone(), word].concat(), &labels, TRAINING).iter().sum::<f64>()
    });
    positive - negative
}

#[test]
fn probabilities_are_those_of_the_label_words() {
    for (words, tokens) in [(&LABELS[..], 1), (&[], 8), (&["posi", "ne"], 5)] {
        let small = Small::new(words);
        let session = session(&small, &small.base);
        assert_eq!(session.tokenizer.encode(LABELS[1]).len(), tokens);
        let oracle = small.oracle();
        let texts = texts(24);
        let mut worst = 0f64;
        for (text, verdict) in texts.iter().zip(session.classify(&texts).unwrap()) {
            let expected = oracle_odds(&oracle, &session, text);
            worst = worst.max((odds(&verdict) - expected).abs());
            assert_eq!(&verdict.text, text);
            assert_eq!(verdict.label, LABELS[usize::from(expected > 0.0)]);
        }
        println!("labels of {tokens} tokens: log-odds differ by at most {worst:.1e}");
        assert!(worst < 2e-4);
    }
}

/// By Cauchy and Schwarz the log-odds of two one-token labels move by at most noise * |w1 - w0| * |h|, plus 2^-8 of
/// each logit when it is rounded. Beyond that bf16 and fp32 must decide alike.
#[test]
fn bf16_decides_as_fp32_where_the_margin_is_above_its_noise() {
    let small = Small::new(&LABELS);
    let narrow: Named =
        small.base.iter().map(|(name, t)| (name.clone(), t.to_kind(Kind::BFloat16))).collect();
    let wide: Named = narrow.iter().map(|(name, t)| (name.clone(), t.to_kind(Kind::Float))).collect();
    let (narrow, exact) = (session(&small, &narrow), session(&small, &wide));
    let oracle = Oracle::new(&small.config, &wide);
    let h = small.config.hidden_size as usize;
    let norm = |x: &[f64]| x.iter().map(|v| v * v).sum::<f64>().sqrt();
    let head = to_f64(&wide["lm_head.weight"]);
    let [w0, w1] = LABELS.map(|l| {
        let id = exact.tokenizer.encode(l)[0] as usize;
        &head[id * h..(id + 1) * h]
    });
    let apart: Vec<f64> = w0.iter().zip(w1).map(|(a, b)| b - a).collect();
    let texts = texts(60);
    let (rough, fine) = (narrow.classify(&texts).unwrap(), exact.classify(&texts).unwrap());
    let (mut decided, mut moved, mut largest) = (0, 0f64, 0f64);
    for ((text, rough), fine) in texts.iter().zip(&rough).zip(&fine) {
        let prompt = exact.template.encode_prompt(&exact.tokenizer, &Row::new(sentiment_prompt(text), ""));
        let hidden = oracle.hidden(&prompt, TRAINING).pop().unwrap();
        let bound = BF16_NOISE * norm(&apart) * norm(&hidden) + (norm(w0) + norm(w1)) * norm(&hidden) / 256.0;
        let change = (odds(rough) - odds(fine)).abs();
        (moved, largest) = (moved.max(change), largest.max(bound));
        assert!(change < bound, "{text}: log-odds moved by {change}, at most {bound} is rounding");
        if odds(fine).abs() > bound {
            decided += 1;
            assert_eq!(rough.label, fine.label, "{text}");
        }
    }
    println!("bf16: log-odds moved by at most {moved:.3} (bound {largest:.3}); {decided} of 60 rows decided");
    assert!(decided > 30);
}

#[test]
fn an_empty_prompt_has_no_answer() {
    let small = Small::new(&[]);
    let how = Generation {
        max_new_tokens: 2,
        do_sample: false,
        temperature: 1.0,
        top_k: 0,
        top_p: 1.0,
        repetition_penalty: 1.0,
    };
    let session = session(&small, &small.base);
    let answer = session.generate(&[], &how, &mut Mt::new(0), &mut |_| Ok(()));
    assert!(matches!(answer, Err(Error::User(_))), "{answer:?}");
}
