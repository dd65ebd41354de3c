//! Compiles the .proto files without protoc; also keeps their descriptors for reflection.

use std::{env, error::Error, fs, path::PathBuf};
use tonic_prost_build::manual;

const FILES: [&str; 13] = [
    "arrow/flight/protocol/flight.proto",
    "wardline/telemetry/v1/ingest.proto",
    "wardline/telemetry/v1/timeline.proto",
    "wardline/telemetry/v1/study.proto",
    "wardline/operations/v1/audit.proto",
    "wardline/operations/v1/quarantine.proto",
    "wardline/registry/v1/registry.proto",
    "wardline/analytics/v1/job.proto",
    "wardline/analytics/v1/dataset.proto",
    "wardline/analytics/v1/report.proto",
    "wardline/analytics/v1/dashboard.proto",
    "wardline/analytics/v1/model.proto",
    "wardline/analytics/v1/schedule.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=wardline");
    println!("cargo::rerun-if-changed=google");
    println!("cargo::rerun-if-changed=arrow");
    let mut compiler = protox::Compiler::new(["."])?;
    compiler.include_source_info(true).include_imports(true).open_files(FILES)?;
    // encoded by the compiler: prost's own types have no room for our field options
    let encoded = compiler.encode_file_descriptor_set();
    fs::write(PathBuf::from(env::var("OUT_DIR")?).join("descriptors.bin"), encoded)?;
    let descriptors = compiler.file_descriptor_set();
    tonic_prost_build::configure()
        // patient data must not reach a log through {:?}
        .skip_debug(["."])
        .bytes(".wardline.operations.v1")
        .bytes(".google.api.HttpBody")
        .codec_path("crate::codec::StrictCodec")
        .compile_fds(descriptors)?;
    manual::Builder::new().build_client(false).compile(&[ingest_in_place()]);
    Ok(())
}

/// `IngestService` once more, its stream's messages as the bytes that came, and single requests with what can be read of them:
/// see `src/in_place.rs` and `src/salvage.rs`.
fn ingest_in_place() -> manual::Service {
    let stream = manual::Method::builder()
        .name("stream_readings")
        .route_name("StreamReadings")
        .input_type("crate::in_place::Received")
        .output_type("crate::telemetry::v1::StreamReadingsResponse")
        .codec_path("crate::in_place::ReceivedCodec")
        .client_streaming()
        .server_streaming();
    let write = manual::Method::builder()
        .name("write_readings")
        .route_name("WriteReadings")
        .input_type("crate::salvage::ReceivedWrite")
        .output_type("crate::telemetry::v1::WriteReadingsResponse")
        .codec_path("crate::salvage::WriteCodec");
    let service = manual::Service::builder().name("IngestService").package("wardline.telemetry.v1");
    let last = manual::Method::builder()
        .name("get_last_stream")
        .route_name("GetLastStream")
        .input_type("crate::telemetry::v1::GetLastStreamRequest")
        .output_type("crate::telemetry::v1::GetLastStreamResponse")
        .codec_path("crate::codec::StrictCodec");
    service.method(stream.build()).method(write.build()).method(last.build()).build()
}
