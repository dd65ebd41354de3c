//! Compiles the .proto files without protoc; also keeps their descriptors for reflection.

use prost::Message;
use std::{env, error::Error, fs, path::PathBuf};

const FILES: [&str; 3] = [
    "wardline/telemetry/v1/ingest.proto",
    "wardline/telemetry/v1/timeline.proto",
    "wardline/operations/v1/quarantine.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=wardline");
    let descriptors = protox::compile(FILES, ["."])?;
    fs::write(PathBuf::from(env::var("OUT_DIR")?).join("descriptors.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        // patient data must not reach a log through {:?}
        .skip_debug(["."])
        .bytes(".wardline.operations.v1")
        .codec_path("crate::codec::StrictCodec")
        .compile_fds(descriptors)?;
    Ok(())
}
