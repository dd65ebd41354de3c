//! From a device to a timeline through three processes, also after each of them has been restarted.

use crate::{PATIENCE, Services, now};
use model::Nanos;
use proto::telemetry::v1::stored_reading::Value;
use tests::{
    Bed,
    builders::{pulse, reading},
};

#[tokio::test]
#[ignore = "needs Kafka and a CQL server"]
async fn what_a_device_writes_a_doctor_reads_also_after_a_restart() -> anyhow::Result<()> {
    let mut services = Services::start(2).await?;
    let (bed, other, at) = (Bed::numbered(0), Bed::numbered(1), now());
    let readings = vec![pulse(72.0, at), reading("8310-5", "Deg. F", 98.6, at.plus(-Nanos::SECOND))];
    for restarted in [false, true] {
        // sent again after the restart, when nobody remembers it: it lands on itself
        let written = services.device(&bed)?.write(1, readings.clone(), PATIENCE).await?;
        assert_eq!((written.accepted_readings, written.refused.len()), (2, 0));
        let found = services.all(&bed, 2).await?;
        let [temperature, heart] = &found[..] else { anyhow::bail!("not two readings: {}", found.len()) };
        assert!(matches!(temperature.value, Some(Value::Number(37.0))) && temperature.unit == "Cel");
        let original = temperature.original.as_ref().map(|original| (original.number, original.unit.as_str()));
        assert_eq!(original, Some((98.6, "Deg. F")));
        assert!(matches!(heart.value, Some(Value::Number(72.0))));
        assert!(services.all(&other, 0).await?.is_empty());
        if !restarted {
            services.stop().await?;
            for service in [&mut services.ingest, &mut services.writer, &mut services.query] {
                service.restart()?;
            }
            services.ready().await?;
        }
    }
    // behind the repetition in the log: when it is there, the repetition has been dealt with
    services.device(&bed)?.write(2, vec![pulse(73.0, at.plus(Nanos::SECOND))], PATIENCE).await?;
    assert_eq!(services.all(&bed, 3).await?.len(), 3);
    services.stop().await
}
