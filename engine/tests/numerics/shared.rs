//! Rows that share their beginnings against the same rows alone.

use qwen_tui_engine::model::{Mode, Packed, Qwen};
use qwen_tui_engine::train::step::{self, Limits, WeightedRow};
use rand_mt::Mt;
use tch::{Device, Kind, Tensor};

use crate::{Small, row, uneven_rows};

/// Rows of `shared` equal ids and then some of their own.
fn rows(shared: usize, own: &[usize]) -> Vec<Vec<u32>> {
    let mut random = Mt::new(21);
    let beginning = row(&mut random, shared, 1).ids;
    own.iter().map(|&n| [beginning.clone(), row(&mut random, n, 1).ids].concat()).collect()
}

/// The largest differences of final hidden states, which are of size 1, from those of each row by itself, of both ways
/// through the blocks.
fn apart(model: &Qwen, rows: &[Vec<u32>], tokens: usize) -> [f64; 2] {
    let _guard = tch::no_grad_guard();
    let ids: Vec<&[u32]> = rows.iter().map(Vec::as_slice).collect();
    let batch = Packed::shared(&ids, Device::Cpu);
    assert_eq!(batch.tokens, tokens as i64);
    let places = rows.iter().map(Vec::len).sum();
    let at: Vec<i64> = (0..places).map(|place| batch.token_at(place)).collect();
    [Qwen::encode, Qwen::hidden].map(|way| {
        let hidden = |batch: &Packed| model.final_norm(&way(model, batch, &Mode::default()));
        let alone = ids.iter().map(|row| hidden(&Packed::new(&[row], 0, Device::Cpu)));
        let alone = Tensor::cat(&alone.collect::<Vec<_>>(), 0);
        let whole = hidden(&batch).index_select(0, &Tensor::from_slice(&at));
        (whole - alone).abs().max().double_value(&[])
    })
}

#[test]
fn hidden_states_are_those_of_rows_alone() {
    let small = Small::new(&[]);
    let (mut adapted, plain) = (small.lora(&qwen_tui::args::models::LINEAR_LAYERS), small.plain());
    adapted.refresh();
    let adapted = tch::no_grad(|| adapted.assemble(&small.config, &small.base));
    let deep = {
        // A beginning of all, one of some, one row twice, one that is another's beginning.
        let [mut a, mut b] = [rows(9, &[30, 3, 12]), rows(20, &[8, 0, 8])];
        a.push(a[0].clone());
        b.iter_mut().for_each(|row| row.splice(..0, a[1][..9].to_vec()).for_each(drop));
        a.append(&mut b);
        a
    };
    for (what, rows, tokens) in [
        ("nothing", uneven_rows().into_iter().map(|r| r.ids).collect(), 619),
        ("everything", rows(40, &[0, 0, 0]), 40),
        ("all but one token", rows(40, &[1, 1, 1, 1]), 44),
        ("a prompt", rows(10, &[60, 3, 17, 25]), 115),
        ("one is the beginning of the others", rows(33, &[0, 5, 9]), 47),
        ("a tree", deep, 9 + 45 + 20 + 16),
    ] {
        for (model, which) in [(&plain, "plain"), (&adapted, "adapted")] {
            let [explicit, autograd] = apart(model, &rows, tokens);
            println!(
                "{what} in common, {which}: largest difference {explicit:.1e}, by autograd's way {autograd:.1e}"
            );
            assert!(explicit < 1e-5 && autograd < 1e-5);
        }
    }
}

/// With NTK and log-n scaling, whose lengths are those of rows and not of what is left of them.
#[test]
fn an_evaluation_is_that_of_rows_alone() {
    let small = Small::short(16);
    let model = small.plain();
    let rows = rows(6, &[1, 10, 10, 11, 40, 3, 9, 26, 10]);
    let labels: Vec<Vec<i64>> = rows
        .iter()
        .map(|ids| ids.iter().enumerate().map(|(i, &id)| if i % 3 == 1 { id.into() } else { -100 }).collect())
        .collect();
    let weighted: Vec<WeightedRow<'_>> = rows
        .iter()
        .zip(&labels)
        .map(|(ids, labels)| WeightedRow { ids, labels, weight: 0.1, number: 0 })
        .collect();
    let limits = Limits { tokens: 1 << 20, targets: 1 << 20 };
    let plan = step::plan(&weighted, limits, Some(16));
    assert_eq!(plan.iter().map(Vec::len).max(), Some(6));
    for batch in plan {
        let part: Vec<WeightedRow<'_>> = batch.iter().map(|&i| weighted[i]).collect();
        let found = step::forward(&model, &part, &Mode::default()).outcome();
        let each: Vec<_> = part
            .iter()
            .map(|row| step::forward(&model, std::slice::from_ref(row), &Mode::default()).outcome())
            .collect();
        let loss: f64 = each.iter().map(|o| o.loss).sum();
        println!("{} rows: loss {}, alone {loss}", part.len(), found.loss);
        assert!((found.loss - loss).abs() < 1e-5 * loss);
        assert_eq!(found.correct, each.iter().flat_map(|o| o.correct.clone()).collect::<Vec<_>>());
    }
}

/// What a GPU's attention sees: whole rows, as they would lie there without sharing.
#[test]
fn rows_are_whole_where_attention_wants_them() {
    let _guard = tch::no_grad_guard();
    let rows = rows(12, &[4, 0, 9, 4]);
    let ids: Vec<&[u32]> = rows.iter().map(Vec::as_slice).collect();
    let (shared, packed) = (Packed::shared(&ids, Device::Cpu), Packed::new(&ids, 0, Device::Cpu));
    assert!(shared.is_shared() && !packed.is_shared());
    for (of_tokens, of_places) in [(&shared.ids, &packed.ids), (&shared.positions, &packed.positions)] {
        assert_eq!(&shared.whole(of_tokens), of_places);
        assert_eq!(&shared.once(of_places), of_tokens);
        assert_eq!(&packed.whole(of_places), of_places);
        let wide = |t: &Tensor| t.to_kind(Kind::Float).unsqueeze(1);
        assert_eq!(shared.pad(&wide(of_tokens)), packed.pad(&wide(of_places)));
        assert_eq!(shared.unpad(&packed.pad(&wide(of_places))), wide(of_tokens));
    }
    assert_eq!((shared.bounds(), shared.end), (packed.bounds(), packed.end));
}
