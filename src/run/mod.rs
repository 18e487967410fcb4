//! A run on disk: the directory's layout, the event log, checkpoints that are whole or absent, SWIFT's own files.
//!
//! Nothing here knows of tensors or of the screen. Every file a crash could leave half-written is either replaced
//! in one rename or is a list of lines whose torn last line is dropped on reading.

pub mod adapter;
pub mod adapter_config;
pub mod adapter_keys;
pub mod checkpoint;
pub mod checksums;
pub mod configuration;
pub mod dir;
mod directory;
pub mod event_log;
mod files;
pub mod generation_config;
pub mod logging;
pub mod plots;
mod resolved;
pub mod rotate;
pub mod tensorboard;
mod there;
pub mod trainer_state;
pub mod training_args;
mod whole;

pub use adapter::{
    AdapterFiles, CONFIG as ADAPTER_CONFIG, Layout, adapter_folder, find_adapter, has_adapter,
};
pub use adapter_config::{AdapterConfig, Bias};
pub use adapter_keys::{canonical_key, file_key};
pub use checkpoint::{
    CheckpointInfo, OPTIMIZER, PROGRESS, clean_partial, list_checkpoints, list_checkpoints_in,
    look_at_checkpoints, no_more_checkpoints, resumable, step_of, write_checkpoint,
};
pub use checksums::{CHECKSUMS, Needed, verify, verify_checkpoint};
pub use configuration::write_configuration;
pub use dir::{
    EVENTS, LOGGING, MERGED, RunDir, SOURCES, WORKER_EXIT, WORKER_LOCK, WORKER_LOG, check_output_dir,
    check_writable, existing,
};
pub use directory::{Contents, is_being_written, replace_directory, write_directory};
pub use event_log::{EventLog, Follower, Record, Replay, read_events, replay};
pub(crate) use files::file_error;
pub use files::{free_bytes, pretty_json, put_atomic, read_json, sha256, write_atomic, write_json};
pub use generation_config::{GENERATION_CONFIG, generation_config};
pub use logging::{LogLine, Logging, NlgScores};
pub use resolved::resolved;
pub use rotate::rotate;
pub use tensorboard::EventFile;
pub use there::{check_place, still_there};
pub use trainer_state::TrainerState;
pub use training_args::{training_args, write_training_args};
pub use whole::has_ended;
