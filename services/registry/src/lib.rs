//! People and devices: who there is, what they may do, their relations, and what patients do not want.
//!
//! The promises: no call is answered before it is in the audit log; a change is in force everywhere within 5 seconds of its
//! answer, and everybody agrees on the order of changes; a change that contradicts another is refused by itself, with
//! field and reason; nobody passes on what they may not pass on, and nobody gives anything to themselves; what the caller
//! may not see answers exactly as what does not exist. What tells who somebody is stays in this service and its store.

mod access;
mod assignments;
mod check;
mod codes;
mod consents;
mod devices;
mod emergencies;
mod enrolment;
mod explain;

mod filter;
mod import;
mod in_the_way;
pub mod metrics;
mod newest;
mod notices;
mod profiles;
mod relations;
mod retractions;
mod roles;
mod table;
mod texts;
mod users;
mod writing;

use auth::{DeviceCa, DeviceIssuer};
use bus::{Progress, Publish};
use guard::decisions::Decisions;
use notices::Notices;
use proto::registry::v1::{
    self as wire, enrolment_service_server::EnrolmentServiceServer, registry_service_server::RegistryServiceServer,
};
use std::sync::Arc;
use store::{Positions, Refusals, Timeline};
use tokio::sync::Mutex;
use tonic::{Request, Response, Status};

/// Largest request: an import of 5,000 rows.
const MESSAGE_BYTES_MAX: usize = 4 << 20;

/// Default and most of a page of a list.
const PAGE: (usize, usize) = (100, 1_000);

/// What devices get when they claim.
#[derive(Default)]
pub struct Credentials {
    /// Issues the devices' tokens; `None`: claims are refused.
    pub tokens: Option<DeviceIssuer>,
    /// Certificates, for those who ask for one.
    pub authority: Option<DeviceCa>,
}

/// What the registry asks of the readings.
#[derive(Clone)]
pub struct Readings {
    /// When devices were heard.
    pub positions: Arc<dyn Positions>,
    /// Whose readings are kept.
    pub timeline: Arc<dyn Timeline>,
    /// How far the writer has come: what it has not dealt with is in no timeline.
    pub written: Arc<dyn Progress>,
}

/// The registry. Cheap to clone.
#[derive(Clone)]
pub struct Registry {
    store: Arc<dyn store::Registry>,
    decisions: Decisions,
    /// Of devices that have proved nothing.
    refusals: Refusals,
    readings: Readings,
    credentials: Arc<Credentials>,
    notices: Notices,
    /// Held from reading the last change to putting the next: within a process one waits instead of trying again.
    turn: Arc<Mutex<()>>,
}

impl Registry {
    /// Keeps its changes in `store`, which the directory of `decisions` follows; knows from `readings` what devices have sent;
    /// devices get `credentials`; what those who treat a patient should know goes to `notices`.
    pub fn new(
        store: Arc<dyn store::Registry>,
        readings: Readings,
        decisions: Decisions,
        credentials: Credentials,
        notices: Arc<dyn Publish>,
    ) -> Self {
        let (credentials, notices) = (Arc::new(credentials), Notices::new(notices));
        let refusals = decisions.refusals();
        Self { store, readings, decisions, refusals, credentials, notices, turn: Arc::default() }
    }

    /// The gRPC service for people, with its message limits set.
    pub fn service(self) -> RegistryServiceServer<Self> {
        RegistryServiceServer::new(self).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    /// The gRPC service for devices that have no token yet.
    pub fn enrolment(self) -> EnrolmentServiceServer<Self> {
        EnrolmentServiceServer::new(self).max_decoding_message_size(64 * 1024)
    }
}

macro_rules! rpcs {
    ($($rpc:ident: $request:ident => $response:ident;)+) => {
        #[async_trait::async_trait]
        impl wire::registry_service_server::RegistryService for Registry {
            $(async fn $rpc(&self, request: Request<wire::$request>) -> Result<Response<wire::$response>, Status> {
                let (_, extensions, request) = request.into_parts();
                let caller = guard::principal(&extensions)?;
                Registry::$rpc(self, caller, request).await.map(Response::new)
            })+
        }
    };
}

rpcs! {
    get_user: GetUserRequest => GetUserResponse;
    list_users: ListUsersRequest => ListUsersResponse;
    create_user: CreateUserRequest => CreateUserResponse;
    update_user: UpdateUserRequest => UpdateUserResponse;
    delete_user: DeleteUserRequest => DeleteUserResponse;
    list_user_versions: ListUserVersionsRequest => ListUserVersionsResponse;
    import_users: ImportUsersRequest => ImportUsersResponse;
    get_role: GetRoleRequest => GetRoleResponse;
    list_roles: ListRolesRequest => ListRolesResponse;
    create_role: CreateRoleRequest => CreateRoleResponse;
    update_role: UpdateRoleRequest => UpdateRoleResponse;
    delete_role: DeleteRoleRequest => DeleteRoleResponse;
    get_grant: GetGrantRequest => GetGrantResponse;
    list_grants: ListGrantsRequest => ListGrantsResponse;
    create_grant: CreateGrantRequest => CreateGrantResponse;
    delete_grant: DeleteGrantRequest => DeleteGrantResponse;
    get_relation: GetRelationRequest => GetRelationResponse;
    list_relations: ListRelationsRequest => ListRelationsResponse;
    create_relation: CreateRelationRequest => CreateRelationResponse;
    end_relation: EndRelationRequest => EndRelationResponse;
    get_consent: GetConsentRequest => GetConsentResponse;
    list_consents: ListConsentsRequest => ListConsentsResponse;
    create_consent: CreateConsentRequest => CreateConsentResponse;
    revoke_consent: RevokeConsentRequest => RevokeConsentResponse;
    open_break_glass: OpenBreakGlassRequest => OpenBreakGlassResponse;
    list_break_glass: ListBreakGlassRequest => ListBreakGlassResponse;
    review_break_glass: ReviewBreakGlassRequest => ReviewBreakGlassResponse;
    list_notices: ListNoticesRequest => ListNoticesResponse;
    explain_access: ExplainAccessRequest => ExplainAccessResponse;
    get_device: GetDeviceRequest => GetDeviceResponse;
    list_devices: ListDevicesRequest => ListDevicesResponse;
    create_device: CreateDeviceRequest => CreateDeviceResponse;
    update_device: UpdateDeviceRequest => UpdateDeviceResponse;
    import_devices: ImportDevicesRequest => ImportDevicesResponse;
    renew_device_token: RenewDeviceTokenRequest => RenewDeviceTokenResponse;
    rotate_device: RotateDeviceRequest => RotateDeviceResponse;
    revoke_device: RevokeDeviceRequest => RevokeDeviceResponse;
    report_device: ReportDeviceRequest => ReportDeviceResponse;
    get_assignment: GetAssignmentRequest => GetAssignmentResponse;
    list_assignments: ListAssignmentsRequest => ListAssignmentsResponse;
    create_assignment: CreateAssignmentRequest => CreateAssignmentResponse;
    end_assignment: EndAssignmentRequest => EndAssignmentResponse;
    get_retraction: GetRetractionRequest => GetRetractionResponse;
    list_retractions: ListRetractionsRequest => ListRetractionsResponse;
    create_retraction: CreateRetractionRequest => CreateRetractionResponse;
    end_retraction: EndRetractionRequest => EndRetractionResponse;
}

#[cfg(test)]
mod tests;
