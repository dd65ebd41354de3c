//! A record in Kafka that nobody can read: put aside once, with its bytes, and the partition goes on.

use crate::{PATIENCE, Services, now};
use bus::{
    Outgoing, Publish,
    kafka::{KafkaPublisher, Settings},
};
use client::channel;
use model::Nanos;
use proto::operations::v1::{GetQuarantinedRequest, quarantine_service_client::QuarantineServiceClient};
use tests::{Bed, builders::pulse, with_token};
use wardline::quarantine::QuarantineClient;

#[tokio::test]
#[ignore = "needs Kafka and a CQL server"]
async fn a_record_that_cannot_be_read_is_put_aside_once() -> anyhow::Result<()> {
    const POISON: &[u8] = b"not a record";
    let mut services = Services::start(1).await?;
    let (bed, at) = (Bed::numbered(0), now());
    let settings = Settings {
        brokers: services.ward.engines.kafka.clone(),
        topic: services.ward.engines.topic.clone(),
        ..Settings::default()
    };
    let log = KafkaPublisher::open(settings)?;
    let device = services.device(&bed)?;
    for sequence in 1..=3 {
        device.write(sequence, vec![pulse(70.0, at.plus(sequence as i64 * Nanos::SECOND))], PATIENCE).await?;
        if sequence == 2 {
            // the patient's key: it lies in the patient's partition, between batches 2 and 3
            log.publish(Outgoing { key: bed.patient, payload: POISON.into() }).await?.await?;
        }
    }
    assert_eq!(services.all(&bed, 3).await?.len(), 3, "the partition goes on");

    let token = services.ward.person("administrator")?;
    let records = QuarantineClient::connect(&services.writer.endpoint(), &token).await?.list().await?;
    let [record] = &records[..] else { anyhow::bail!("{} records in quarantine", records.len()) };
    assert_eq!((record.bytes, record.reason.is_empty()), (POISON.len() as u64, false));
    let mut client = QuarantineServiceClient::new(channel(services.writer.endpoint())?);
    let request = GetQuarantinedRequest { log_position: record.log_position.clone() };
    let kept = client.get_quarantined(with_token(request, &token)?).await?.into_inner();
    assert_eq!(kept.payload, POISON);

    // read again by another group, it lands on itself
    services.writer.stop().await?;
    services.ward.migrate("again").await?;
    services.writer = services.ward.start("writer-again", &["writer"], "again")?;
    services.writer.ready().await?;
    services.device(&bed)?.write(4, vec![pulse(71.0, at.plus(9 * Nanos::SECOND))], PATIENCE).await?;
    assert_eq!(services.all(&bed, 4).await?.len(), 4);
    let again = QuarantineClient::connect(&services.writer.endpoint(), &token).await?.list().await?;
    assert_eq!((again.len(), &again[0].log_position), (1, &record.log_position));
    services.stop().await
}
