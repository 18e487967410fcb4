//! Rows as a tree of their tokens: what they begin with alike is one path.

/// A token sees what stands before it in its row and nothing else, so two tokens with the same ids before them are one.
pub struct Tree {
    /// Id of each token `[tokens]`.
    pub ids: Vec<i64>,
    /// Position of each token in its row `[tokens]`.
    pub positions: Vec<i64>,
    /// The token of each place `[places]`: the rows, whole, laid end to end.
    pub tokens: Vec<i64>,
    /// The first place of each token `[tokens]`.
    pub places: Vec<i64>,
}

impl Tree {
    /// The tree of `rows`.
    pub fn of(rows: &[&[u32]]) -> Self {
        let mut places = 0;
        let starts: Vec<usize> = rows
            .iter()
            .map(|row| {
                places += row.len();
                places - row.len()
            })
            .collect();
        let mut tree =
            Self { ids: Vec::new(), positions: Vec::new(), tokens: vec![0; places], places: Vec::new() };
        // In this order the row before has the longest beginning in common of all before.
        let mut order: Vec<usize> = (0..rows.len()).collect();
        order.sort_by_key(|&i| rows[i]);
        let mut before: Option<usize> = None;
        for i in order {
            let common =
                before.map_or(0, |b| rows[b].iter().zip(rows[i]).take_while(|(a, b)| a == b).count());
            if let Some(b) = before {
                tree.tokens.copy_within(starts[b]..starts[b] + common, starts[i]);
            }
            for (at, &id) in rows[i].iter().enumerate().skip(common) {
                let place = starts[i] + at;
                tree.tokens[place] = tree.add(id, at, place);
            }
            before = Some(i);
        }
        for (place, &token) in tree.tokens.iter().enumerate().rev() {
            tree.places[token as usize] = place as i64;
        }
        tree
    }

    fn add(&mut self, id: u32, position: usize, place: usize) -> i64 {
        self.ids.push(id.into());
        self.positions.push(position as i64);
        self.places.push(place as i64);
        self.ids.len() as i64 - 1
    }

    /// Lays another row behind the others, which shares nothing with them.
    pub fn append(&mut self, row: &[u32]) {
        for (position, &id) in row.iter().enumerate() {
            let token = self.add(id, position, self.tokens.len());
            self.tokens.push(token);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_rows_begin_with_alike_stands_there_once() {
        let rows: [&[u32]; 7] = [&[1, 2, 3], &[1, 2, 4, 5], &[9], &[1, 2, 3], &[], &[1], &[1, 2, 4, 6]];
        let mut tree = Tree::of(&rows);
        // 1, 2, 3, 4, 5, 6 and 9, in some order.
        let mut ids = tree.ids.clone();
        ids.sort_unstable();
        assert_eq!(ids, [1, 2, 3, 4, 5, 6, 9]);
        tree.append(&[1, 2]);
        assert_eq!(tree.ids.len(), 9);

        let mut place = 0;
        for row in rows.iter().chain([&[1, 2][..]].iter()) {
            for (at, &id) in row.iter().enumerate() {
                let token = tree.tokens[place] as usize;
                assert_eq!((tree.ids[token], tree.positions[token]), (i64::from(id), at as i64));
                place += 1;
            }
        }
        assert_eq!(place, tree.tokens.len());
        for (token, &place) in tree.places.iter().enumerate() {
            assert_eq!(tree.tokens.iter().position(|&t| t == token as i64), Some(place as usize));
        }
    }

    #[test]
    fn a_row_by_itself_or_none_shares_nothing() {
        let tree = Tree::of(&[&[7, 7, 7]]);
        assert_eq!((tree.ids, tree.tokens), (vec![7, 7, 7], vec![0, 1, 2]));
        assert!(Tree::of(&[]).ids.is_empty() && Tree::of(&[&[]]).tokens.is_empty());
    }
}
