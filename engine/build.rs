//! Bakes libtorch's folder into the engine as RUNPATH, which `LD_LIBRARY_PATH` overrides (RPATH would not be).

use std::path::PathBuf;

fn main() {
    // torch-sys tells where it found libtorch, be that LIBTORCH, LIBTORCH_LIB or an installed PyTorch.
    println!("cargo:rerun-if-env-changed=DEP_TCH_LIBTORCH_LIB");
    let Some(lib) = std::env::var_os("DEP_TCH_LIBTORCH_LIB").map(PathBuf::from) else { return };
    let lib = lib.canonicalize().unwrap_or(lib);
    println!("cargo:rustc-link-arg=-Wl,--enable-new-dtags,-rpath,{}", lib.display());
}
