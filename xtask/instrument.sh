#!/bin/sh
# The compiler of `cargo xtask fuzz` (as RUSTC_WORKSPACE_WRAPPER): this repository's crates with libFuzzer's coverage
# counters and AddressSanitizer. Dependencies and build scripts are compiled as ever, so that `cargo test` has built
# most of a fuzzer. The flags are unstable; they work on the stable compiler that is pinned.
# Nor does cargo learn of the sanitizer when it asks for the target's configuration: build scripts would compile their C
# code with it, and `cargo test` could not link that afterwards.
case " $* " in
*" --crate-name build_script_"* | *" --print="*) exec "$@" ;;
esac
RUSTC_BOOTSTRAP=1 exec "$@" \
    -Zsanitizer=address \
    -Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares
