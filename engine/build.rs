//! Bakes libtorch's folder into the engine as RUNPATH, which `LD_LIBRARY_PATH` overrides (RPATH would not be).

use std::path::PathBuf;

fn main() {
    println!("cargo:rerun-if-env-changed=LIBTORCH");
    let Some(root) = std::env::var_os("LIBTORCH").map(PathBuf::from) else { return };
    let lib = root.join("lib").canonicalize().unwrap_or_else(|_| root.join("lib"));
    println!("cargo:rustc-link-arg=-Wl,--enable-new-dtags,-rpath,{}", lib.display());
}
