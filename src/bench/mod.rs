//! The benchmark as far as it needs no libtorch: shapes, a made-up vocabulary, rows, and the arguments of
//! `new-model`, which both programs read.

mod arguments;
mod shapes;
mod vocabulary;

pub use arguments::NewModelArguments;
pub use shapes::{Shape, ShapeName};
pub use vocabulary::{PUBLISHED_RANKS, vocabulary};
