//! The arguments of the commands that ask the registry.

use super::{
    relations::{Consents, Emergencies, Relations, Why},
    retractions::Retractions,
};
use crate::operator::{Id, TokenArgs};
use clap::{Args, Subcommand, ValueEnum};
use std::path::PathBuf;

/// How a list is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A table with aligned columns.
    Table,
    /// One array of objects.
    Json,
    /// Comma-separated values, with a line of headings.
    Csv,
}

/// Who asks, and how the answer is printed.
#[derive(Debug, Args)]
pub struct CallerArgs {
    /// Whose token is used.
    #[command(flatten)]
    pub access: TokenArgs,
    /// How the answer is printed.
    #[arg(long, short, global = true, value_enum, default_value = "table")]
    pub output: Format,
}

/// A command that asks the registry.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// People: who there is.
    Users {
        /// What to do with people.
        #[command(subcommand)]
        what: Users,
        /// Who asks, and how the answer is printed.
        #[command(flatten)]
        caller: CallerArgs,
    },
    /// Devices: registered, claimed, taken out.
    Devices {
        /// What to do with devices.
        #[command(subcommand)]
        what: Devices,
        /// Who asks, and how the answer is printed.
        #[command(flatten)]
        caller: CallerArgs,
    },
    /// Roles: what their holders may do.
    Roles {
        /// What to do with roles.
        #[command(subcommand)]
        what: Roles,
        /// Who asks, and how the answer is printed.
        #[command(flatten)]
        caller: CallerArgs,
    },
    /// Grants: who holds which role.
    Grants {
        /// What to do with grants.
        #[command(subcommand)]
        what: Grants,
        /// Who asks, and how the answer is printed.
        #[command(flatten)]
        caller: CallerArgs,
    },
    /// Relations: who treats or stands for whom.
    Relations {
        /// What to do with relations.
        #[command(subcommand)]
        what: Relations,
        /// Who asks, and how the answer is printed.
        #[command(flatten)]
        caller: CallerArgs,
    },
    /// Consents: what patients do not want.
    Consents {
        /// What to do with consents.
        #[command(subcommand)]
        what: Consents,
        /// Who asks, and how the answer is printed.
        #[command(flatten)]
        caller: CallerArgs,
    },
    /// Retractions: readings that must not count.
    Retractions {
        /// What to do with retractions.
        #[command(subcommand)]
        what: Retractions,
        /// Who asks, and how the answer is printed.
        #[command(flatten)]
        caller: CallerArgs,
    },
    /// Emergencies: accesses without a relation, and their review.
    Emergencies {
        /// What to do with emergency accesses.
        #[command(subcommand)]
        what: Emergencies,
        /// Who asks, and how the answer is printed.
        #[command(flatten)]
        caller: CallerArgs,
    },
    /// Why somebody can or cannot see a patient.
    Explain {
        /// Who, and whom.
        #[command(flatten)]
        why: Why,
        /// Who asks, and how the answer is printed.
        #[command(flatten)]
        caller: CallerArgs,
    },
}

impl Command {
    /// Who asks, and how the answer is printed.
    pub fn caller(&self) -> &CallerArgs {
        match self {
            Self::Users { caller, .. }
            | Self::Devices { caller, .. }
            | Self::Roles { caller, .. }
            | Self::Grants { caller, .. }
            | Self::Relations { caller, .. }
            | Self::Consents { caller, .. }
            | Self::Retractions { caller, .. }
            | Self::Emergencies { caller, .. }
            | Self::Explain { caller, .. } => caller,
        }
    }
}

/// What to do with people.
#[derive(Debug, Subcommand)]
pub enum Users {
    /// All, or those that fulfil conditions.
    List {
        /// Such as `ward="icu" AND role="nurse"`; keys are ward, role, patient, suspended.
        #[arg(long, default_value = "")]
        filter: String,
    },
    /// Show one person.
    Get {
        /// UUID of the person.
        user: Id,
    },
    /// What a person was like before, newest first.
    Versions {
        /// UUID of the person.
        user: Id,
    },
    /// Register a person.
    Create {
        /// Name of the person, up to 200 characters.
        name: String,
        /// Date of birth, such as 1969-12-31.
        #[arg(long, default_value = "")]
        birth_date: String,
        /// UUID under which the person's readings are kept, for a patient; `new`: a new one.
        #[arg(long, default_value = "")]
        patient: String,
        /// The ward in which the patient is.
        #[arg(long, default_value = "")]
        ward: String,
    },
    /// No token of the person's opens anything until `resume`.
    Suspend {
        /// UUID of the person.
        user: Id,
    },
    /// The end of a suspension.
    Resume {
        /// UUID of the person.
        user: Id,
    },
    /// The person, and all that person held.
    Delete {
        /// UUID of the person.
        user: Id,
    },
    /// From CSV: user_id,patient_id,ward,name,birth_date,role,address,phone,email,suspended, or as `list` prints it; of any
    /// size. Exit 1 when a row was refused.
    Import {
        /// CSV file in UTF-8 whose heading has `name` and any of the other columns.
        file: PathBuf,
    },
}

/// What to do with devices.
#[derive(Debug, Subcommand)]
pub enum Devices {
    /// All that one may see, or those that fulfil conditions.
    List {
        /// Such as `status="active"`; keys are status, model, mac.
        #[arg(long, default_value = "")]
        filter: String,
    },
    /// Show one device.
    Get {
        /// UUID of the device.
        device: Id,
    },
    /// A new one; prints its claim code, which is shown once.
    Create {
        /// What people call it.
        name: String,
        /// MAC address, such as 00:00:5e:00:53:af; no two devices have the same.
        #[arg(long, default_value = "")]
        mac: String,
        /// Manufacturer's model, up to 128 characters.
        #[arg(long, default_value = "")]
        model: String,
        /// Code of MDC.
        #[arg(long, default_value = "")]
        mdc_type: String,
    },
    /// A new claim code; what the device has opens nothing more.
    Rotate {
        /// UUID of the device.
        device: Id,
    },
    /// What the device has opens nothing more.
    Revoke {
        /// UUID of the device.
        device: Id,
        /// For good: its MAC address is free.
        #[arg(long)]
        retire: bool,
    },
    /// Assigns it to a patient, from now on.
    Assign {
        /// UUID of the device.
        device: Id,
        /// UUID of the patient.
        patient: Id,
    },
    /// From CSV: device_id,name,mac,model,mdc_type, or as `list` prints it; of any size. Prints the claim codes. Exit 1 when a
    /// row was refused.
    Import {
        /// CSV file in UTF-8 whose heading has `name` and any of the other columns.
        file: PathBuf,
    },
}

/// What to do with roles.
#[derive(Debug, Subcommand)]
pub enum Roles {
    /// Show all roles.
    List,
    /// Make a role of your own.
    Create {
        /// Lower-case letters, digits and hyphens.
        role: String,
        /// What kind of people hold it.
        #[arg(long, default_value = "")]
        category: String,
        /// What its holders may do, repeatable, such as readings.read.
        #[arg(long = "permission")]
        permissions: Vec<String>,
        /// What its holders may let others do, repeatable.
        #[arg(long = "may-grant")]
        may_grant: Vec<String>,
    },
    /// One that nobody holds.
    Delete {
        /// Id of the role, as `roles list` prints it.
        role: String,
    },
}

/// What to do with grants.
#[derive(Debug, Subcommand)]
pub enum Grants {
    /// All, or one person's.
    List {
        /// UUID of a person.
        #[arg(long)]
        user: Option<Id>,
    },
    /// Gives a role to a person, everywhere or for a ward or a study.
    Create {
        /// UUID of the person.
        user: Id,
        /// Id of the role to give, as `roles list` prints it.
        role: String,
        /// In this ward only.
        #[arg(long, default_value = "")]
        ward: String,
        /// For this study's patients only.
        #[arg(long, default_value = "", conflicts_with = "ward")]
        study: String,
    },
    /// Take a role away from a person.
    Delete {
        /// UUID of the grant.
        grant: Id,
    },
}
