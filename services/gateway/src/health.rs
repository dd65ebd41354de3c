//! `grpc.health.v1.Health` (as events: `events.rs`), which also says why a name is none of those that it knows: a service of ours
//! that another process serves, or nothing at all.
//!
//! Never UNIMPLEMENTED: clients take that for a server without health checks, and so for a healthy one.

use futures::{
    StreamExt,
    stream::{self, BoxStream},
};
use proto::{problem, rpc};
use tonic::{Code, Request, Response, Status, async_trait};
use tonic_health::{
    pb::{
        HealthCheckRequest, HealthCheckResponse,
        health_check_response::ServingStatus,
        health_server::{Health, HealthServer},
    },
    server::{HealthReporter, HealthService},
};

/// Answers with what `reporter` is told, in a process that runs the services `here` (`wardline run --service`).
pub fn service(reporter: &HealthReporter, here: Vec<&'static str>) -> HealthServer<Named> {
    HealthServer::new(Named { known: HealthService::from_health_reporter(reporter.clone()), here })
}

/// The health service, with the names of the services that the process runs.
pub struct Named {
    known: HealthService,
    here: Vec<&'static str>,
}

impl Named {
    /// What is answered instead of a refusal that gives no reason.
    fn reasoned(&self, asked: &str, refused: Status) -> Status {
        if refused.code() != Code::NotFound {
            return refused;
        }
        match rpc::all().iter().find(|rpc| rpc.names().0 == asked) {
            Some(rpc) => {
                let elsewhere = problem::not_served_here(asked, &rpc.process, &self.here);
                problem::status(Code::NotFound, "NOT_SERVED_HERE", elsewhere.message())
            }
            None => {
                let text = "no service of rpcs has this full name; empty asks for all that this process serves";
                problem::field(Code::NotFound, "NOT_FOUND", "service", text)
            }
        }
    }
}

#[async_trait]
impl Health for Named {
    async fn check(&self, request: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        let asked = request.get_ref().service.clone();
        self.known.check(request).await.map_err(|refused| self.reasoned(&asked, refused))
    }

    type WatchStream = BoxStream<'static, Result<HealthCheckResponse, Status>>;

    async fn watch(&self, request: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        match self.known.watch(request).await {
            Ok(known) => Ok(known.map(StreamExt::boxed)),
            // which names are known stays as it is as long as the process runs
            Err(refused) if refused.code() == Code::NotFound => {
                let unknown = HealthCheckResponse { status: ServingStatus::ServiceUnknown.into() };
                Ok(Response::new(stream::iter([Ok(unknown)]).chain(stream::pending()).boxed()))
            }
            Err(refused) => Err(refused),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One of ours that another process serves, and one of nobody.
    const UNKNOWN: [(&str, &str); 2] =
        [("wardline.telemetry.v1.TimelineService", "NOT_SERVED_HERE"), ("wardline.none", "NOT_FOUND")];

    fn asking(service: &str) -> Request<HealthCheckRequest> {
        Request::new(HealthCheckRequest { service: service.to_owned() })
    }

    fn named() -> Named {
        Named { known: HealthService::from_health_reporter(HealthReporter::new()), here: vec!["ingest"] }
    }

    #[tokio::test]
    async fn an_unknown_name_is_not_found_with_a_reason() {
        for (name, reason) in UNKNOWN {
            let refused = named().check(asking(name)).await.expect_err("it is not known");
            let info = tonic_types::StatusExt::get_details_error_info(&refused).expect("it has a reason");
            assert_eq!((refused.code(), &*info.reason), (Code::NotFound, reason), "{name}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_watches_an_unknown_name_is_told_so_and_stays() {
        for (name, _) in UNKNOWN {
            let mut said = named().watch(asking(name)).await.expect("it is told as a status").into_inner();
            let first = said.next().await.expect("there is a status").expect("it is no error");
            assert_eq!(first.status(), ServingStatus::ServiceUnknown, "{name}");
            let next = tokio::time::timeout(std::time::Duration::from_secs(3_600), said.next()).await;
            assert!(next.is_err(), "{name}: the call has ended");
        }
        let mut said = named().watch(asking("")).await.expect("it is known").into_inner();
        assert!(said.next().await.is_some_and(|first| first.is_ok_and(|it| it.status() == ServingStatus::Serving)));
    }
}
