//! Has the shipped agent linked smaller, and its functions in an order: it rides in an initramfs.

use std::env;
use std::path::PathBuf;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=smaller.ld");
    println!("cargo:rerun-if-changed=order.ld");
    println!("cargo:rerun-if-env-changed=RUSTC_LINKER");
    println!("cargo:rerun-if-env-changed=AGENT_MAP");
    if env::var("CARGO_CFG_TARGET_ENV").as_deref() != Ok("musl") || !is_agent_profile() {
        return;
    }
    // A compiler that links takes the linker's own arguments by `-Wl,`; a linker takes them as they are.
    let linker = env::var("RUSTC_LINKER").unwrap_or_default();
    let bare = linker.ends_with("ld");
    let directory = env::var("CARGO_MANIFEST_DIR").expect("cargo sets it");
    if linker.ends_with("lld") {
        // It keeps one of functions that are the same: 14 KB less.
        println!("cargo:rustc-link-arg-bins=--icf=all");
        // The list has the names of packaging/static, which links with it.
        println!("cargo:rustc-link-arg-bins=-T{directory}/order.ld");
        // Where each function lies, for packaging/order: cargo's own option that keeps symbols would change their names.
        if let Ok(map) = env::var("AGENT_MAP") {
            println!("cargo:rustc-link-arg-bins=-Map={map}");
            println!("cargo:rustc-link-arg-bins=--no-demangle");
        }
    }
    let script = format!("{directory}/smaller.ld");
    for words in [
        // A static program relocates itself; these are the same relocations in a thirtieth of the room.
        ["-z", "pack-relative-relocs"].as_slice(),
        &["--no-eh-frame-hdr"],
        &["-T", &script],
    ] {
        if bare {
            words.iter().for_each(|word| println!("cargo:rustc-link-arg-bins={word}"));
        } else {
            println!("cargo:rustc-link-arg-bins=-Wl,{}", words.join(","));
        }
    }
}

/// Whether this is the profile `agent`, whose programs abort where others unwind. Cargo tells a build script that only
/// by the directory that it may write to: `<target>/<triple>/<profile>/build/<package>/out`.
fn is_agent_profile() -> bool {
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    out.ancestors().nth(3).is_some_and(|profile| profile.ends_with("agent"))
}
