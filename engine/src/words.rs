//! libtorch's errors in words for people. tch tells them as panics whose text goes on with hints for developers and a
//! C++ backtrace.

/// How libtorch's allocators, and the libraries that it hands memory to, begin to say that there is none left.
const OF_MEMORY: [&str; 5] = [
    "out of memory",
    "can't allocate memory",
    "not enough memory: you tried to allocate",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
];

/// Where what is for developers begins: of a backtrace, and of what every error of CUDA's goes on with.
const FOR_DEVELOPERS: [&str; 4] =
    ["Exception raised from", "\nframe #", "\nSearch for `", "\nCUDA kernel errors might"];

/// Whether an error of libtorch's is one of memory.
pub fn is_of_memory(text: &str) -> bool {
    OF_MEMORY.iter().any(|word| text.contains(word))
}

/// The line of an error of memory that says so, without what each process has of it, with which CUDA's goes on.
pub fn of_memory(text: &str) -> &str {
    let line = text.lines().find(|line| is_of_memory(line)).unwrap_or(text);
    line.split(". GPU ").next().unwrap_or(line).trim()
}

/// What a panic said, in brief.
pub fn of_panic(payload: &(dyn std::any::Any + Send)) -> String {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    brief(text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("unknown panic"))
}

/// The first lines of libtorch's message: what happened.
pub fn brief(text: &str) -> String {
    // tch unwraps its errors.
    let text = text.rsplit_once("value: Torch(\"").map_or(text, |(_, words)| words).replace("\\n", "\n");
    let end = FOR_DEVELOPERS.iter().filter_map(|begin| text.find(begin)).min().unwrap_or(text.len());
    text[..end].trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_cuda_is_its_first_line() {
        let text = "CUDA error: out of memory\nSearch for `cudaErrorMemoryAllocation' in https://docs.nvidia.com/cuda \
                    for more information.\nCUDA kernel errors might be asynchronously reported at some other API \
                    call\nFor debugging consider passing CUDA_LAUNCH_BLOCKING=1\nCompile with `TORCH_USE_CUDA_DSA`.\n";
        assert_eq!(brief(text), "CUDA error: out of memory");
        let text = "called `Result::unwrap()` on an `Err` value: Torch(\"CUDA error: unspecified launch failure\\nCUDA \
                    kernel errors might\\nframe #0: c10::Error\")";
        assert_eq!(brief(text), "CUDA error: unspecified launch failure");
    }

    #[test]
    fn errors_of_memory_are_told_from_others() {
        let other = [
            "CUDA error: an illegal memory access was encountered",
            "CUDA error: device-side assert triggered",
        ];
        for text in other {
            assert!(!is_of_memory(text), "{text}");
        }
        let text = "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.18 GiB of which \
                    84.62 MiB is free. Process 2282 has 78.24 GiB memory in use.";
        assert!(is_of_memory(text) && is_of_memory("CUDA error: out of memory"));
        assert_eq!(of_memory(text), "CUDA out of memory. Tried to allocate 2.00 GiB");
    }
}
