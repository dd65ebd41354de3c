//! From a device to a timeline and back after a restart.

use model::Nanos;
use proto::telemetry::v1::{LatestReadingsRequest, stored_reading::Value};
use tests::{
    Bed, Sandbox,
    builders::{everything, pulse, reading, write},
    wait::until,
};

#[tokio::test]
async fn what_a_device_writes_a_doctor_reads_also_after_a_restart() -> anyhow::Result<()> {
    let mut sandbox = Sandbox::start(1).await?;
    let (bed, now) = (Bed::numbered(0), guard::clock::now());
    let readings = vec![pulse(72.0, now), reading("8310-5", "Deg. F", 98.6, now.plus(-Nanos::SECOND))];
    let request = sandbox.as_device(bed.device, write(&bed, 1, readings))?;
    let written = sandbox.ingest().await?.write_readings(request).await?.into_inner();
    assert_eq!((written.accepted_readings, written.refused.len()), (2, 0));
    for _ in 0..2 {
        let mut client = sandbox.timeline().await?;
        let page = until(
            "two readings",
            async || {
                Ok(client
                    .clone()
                    .read_timeline(sandbox.as_person("doctor", everything(&bed))?)
                    .await?
                    .into_inner()
                    .readings
                    .len())
            },
            |n| *n == 2,
        )
        .await?;
        assert_eq!(page, 2);
        let page = client.read_timeline(sandbox.as_person("doctor", everything(&bed))?).await?.into_inner();
        let [temperature, heart] = &page.readings[..] else { anyhow::bail!("not two readings") };
        assert!(matches!(temperature.value, Some(Value::Number(37.0))));
        assert_eq!(temperature.unit, "Cel");
        let original = temperature.original.as_ref().map(|o| (o.number, o.unit.as_str()));
        assert_eq!(original, Some((98.6, "Deg. F")));
        assert!(matches!(heart.value, Some(Value::Number(72.0))));
        assert_eq!(page.coverage.len(), 2);
        let latest = LatestReadingsRequest { patient_id: bed.patient.uuid().to_string(), metrics: vec![] };
        let latest = client.latest_readings(sandbox.as_person("nurse", latest)?).await?.into_inner();
        assert_eq!(latest.readings.len(), 2);
        sandbox.stop().await?;
        sandbox.run().await?;
    }
    Ok(())
}
