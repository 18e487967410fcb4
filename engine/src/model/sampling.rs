//! Which token comes next: transformers' logits processors and warpers, in its order.

use rand_mt::Mt;

use super::generate::Generation;

/// The next token from `logits` `[vocab]`, after the tokens `seen`.
pub fn choose(mut logits: Vec<f32>, seen: &[u32], how: &Generation, random: &mut Mt) -> u32 {
    penalize(&mut logits, seen, how.repetition_penalty as f32);
    if !how.do_sample {
        return argmax(&logits);
    }
    let kept = distribution(&logits, how);
    let total: f64 = kept.iter().map(|(_, weight)| weight).sum();
    let mut point = f64::from(random.next_u32()) / (f64::from(u32::MAX) + 1.0) * total;
    for &(id, weight) in &kept {
        point -= weight;
        if point < 0.0 {
            return id;
        }
    }
    kept.last().map_or(0, |&(id, _)| id)
}

/// `RepetitionPenaltyLogitsProcessor` (Keskar et al. 2019, "CTRL"), once for each token that was seen.
fn penalize(logits: &mut [f32], seen: &[u32], penalty: f32) {
    if penalty == 1.0 {
        return;
    }
    let mut once = seen.to_vec();
    once.sort_unstable();
    once.dedup();
    for id in once {
        if let Some(logit) = logits.get_mut(id as usize) {
            *logit = if *logit < 0.0 { *logit * penalty } else { *logit / penalty };
        }
    }
}

/// The tokens that may be drawn, the likeliest first, with weights as their probabilities: temperature, top-k, top-p
/// (`TemperatureLogitsWarper`, `TopKLogitsWarper`, `TopPLogitsWarper`).
fn distribution(logits: &[f32], how: &Generation) -> Vec<(u32, f64)> {
    let mut order: Vec<u32> = (0..logits.len() as u32).filter(|&i| !logits[i as usize].is_nan()).collect();
    let by_logit = |a: &u32, b: &u32| logits[*b as usize].total_cmp(&logits[*a as usize]).then(a.cmp(b));
    if how.top_k > 0 && how.top_k < order.len() {
        let (_, &mut last, _) = order.select_nth_unstable_by(how.top_k - 1, by_logit);
        // Those that are as likely as the last one stay too.
        order.retain(|&i| logits[i as usize] >= logits[last as usize]);
    }
    order.sort_unstable_by(by_logit);
    let most = order.first().map_or(0.0, |&i| f64::from(logits[i as usize]));
    let weight = |i: u32| ((f64::from(logits[i as usize]) - most) / how.temperature).exp();
    let mut kept: Vec<(u32, f64)> = order.into_iter().map(|i| (i, weight(i))).collect();
    if how.top_p < 1.0 {
        // The likeliest tokens whose probabilities add up to top_p, the one that crosses it included.
        let sum: f64 = kept.iter().map(|(_, weight)| weight).sum();
        let mut before = 0.0;
        let count = kept.iter().take_while(|(_, weight)| {
            let stays = before < how.top_p;
            before += weight / sum;
            stays
        });
        let count = count.count().max(1);
        kept.truncate(count);
    }
    kept
}

fn argmax(logits: &[f32]) -> u32 {
    let mut best = 0;
    for (i, &x) in logits.iter().enumerate() {
        if x > logits[best] || logits[best].is_nan() {
            best = i;
        }
    }
    best as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn how() -> Generation {
        Generation {
            max_new_tokens: 1,
            do_sample: true,
            temperature: 1.0,
            top_k: 0,
            top_p: 1.0,
            repetition_penalty: 1.0,
        }
    }

    /// `tests/data/sampling.py` has written them with transformers' own processors.
    #[test]
    fn distributions_are_those_of_transformers() {
        let cases: serde_json::Value =
            serde_json::from_str(include_str!("../../tests/data/sampling.json")).unwrap();
        let mut worst = 0f64;
        for case in cases.as_array().unwrap() {
            let number = |key: &str| case[key].as_f64().unwrap();
            let list = |key: &str| -> Vec<f64> {
                case[key].as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
            };
            let how = Generation {
                temperature: number("temperature"),
                top_k: number("top_k") as usize,
                top_p: number("top_p"),
                repetition_penalty: number("repetition_penalty"),
                ..how()
            };
            let seen: Vec<u32> = list("seen").iter().map(|&x| x as u32).collect();
            let mut logits: Vec<f32> = list("logits").iter().map(|&x| x as f32).collect();
            let greedy = Generation { do_sample: false, ..how.clone() };
            let best = choose(logits.clone(), &seen, &greedy, &mut Mt::new(1));
            assert_eq!(f64::from(best), number("greedy"));
            penalize(&mut logits, &seen, how.repetition_penalty as f32);
            let kept = distribution(&logits, &how);
            let sum: f64 = kept.iter().map(|(_, weight)| weight).sum();
            let mut ours = vec![0.0; logits.len()];
            kept.iter().for_each(|&(id, weight)| ours[id as usize] = weight / sum);
            for (id, (p, wanted)) in ours.iter().zip(list("probabilities")).enumerate() {
                worst = worst.max((p - wanted).abs());
                assert!(
                    (p - wanted).abs() < 1e-6 && (*p == 0.0) == (wanted == 0.0),
                    "token {id}: {p}, not {wanted}: {how:?}"
                );
            }
        }
        println!("largest difference of a probability: {worst:.1e}");
    }

    #[test]
    fn tokens_are_drawn_by_their_probabilities() {
        let logits: Vec<f32> = [0.1f32, 0.2, 0.3, 0.4].map(f32::ln).into();
        let mut random = Mt::new(1);
        let mut counts = [0; 4];
        for _ in 0..20_000 {
            counts[choose(logits.clone(), &[], &how(), &mut random) as usize] += 1;
        }
        for (i, &n) in counts.iter().enumerate() {
            let expected = 2000.0 * (i + 1) as f64;
            assert!((f64::from(n) - expected).abs() < 300.0, "{counts:?}");
        }
    }

    #[test]
    fn logits_that_are_no_numbers_are_never_drawn() {
        let logits = vec![f32::NAN, f32::NEG_INFINITY, 1.0, f32::NAN];
        for do_sample in [false, true] {
            let how = Generation { do_sample, top_k: 2, top_p: 0.9, ..how() };
            assert_eq!(choose(logits.clone(), &[2], &how, &mut Mt::new(1)), 2);
        }
    }
}
