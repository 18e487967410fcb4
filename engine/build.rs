//! Bakes libtorch's folder into the engine as RUNPATH, which `LD_LIBRARY_PATH` overrides (RPATH would not be), and
//! compiles what of libtorch tch does not bind.

use std::path::PathBuf;

fn main() {
    // torch-sys tells where it found libtorch, be that LIBTORCH, LIBTORCH_LIB or an installed PyTorch.
    println!("cargo:rerun-if-env-changed=DEP_TCH_LIBTORCH_LIB");
    println!("cargo:rerun-if-env-changed=LIBTORCH_INCLUDE");
    println!("cargo:rerun-if-changed=shim/shim.cpp");
    let Some(lib) = std::env::var_os("DEP_TCH_LIBTORCH_LIB").map(PathBuf::from) else { return };
    let lib = lib.canonicalize().unwrap_or(lib);
    println!("cargo:rustc-link-arg=-Wl,--enable-new-dtags,-rpath,{}", lib.display());
    // As torch-sys looks for them: LIBTORCH_INCLUDE names the folder that holds `include`.
    let root = std::env::var_os("LIBTORCH_INCLUDE").map_or(lib.join(".."), PathBuf::from);
    let include = root.join("include");
    cc::Build::new()
        .cpp(true)
        .std("c++20")
        .flag("-D_GLIBCXX_USE_CXX11_ABI=1")
        .warnings(false)
        .include(include.join("torch/csrc/api/include"))
        .include(include)
        .file("shim/shim.cpp")
        .compile("qwen_tui_shim");
}
