//! The benchmark as far as it needs no libtorch: shapes, a made-up vocabulary, rows, and the arguments of `bench` and
//! `new-model`, which both programs read.

mod arguments;
mod new_model;
mod rows;
mod shapes;
mod vocabulary;

pub use arguments::{BenchArguments, Part, PeerLoop};
pub use new_model::NewModelArguments;
pub use rows::{Lengths, Synthetic};
pub use shapes::{Shape, ShapeName};
pub use vocabulary::{PUBLISHED_RANKS, vocabulary};
