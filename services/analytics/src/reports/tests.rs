//! Tests of the reports: small tables made by hand, and results worked out by hand.

mod checks;
mod engine;
mod hospitals;
mod output;
mod parameters;
mod prescribers;
mod readings;
mod sites;
mod states;
mod tables;
