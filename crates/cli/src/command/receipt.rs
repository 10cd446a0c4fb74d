//! `tally receipt`: the receipts that a home keeps.

use anyhow::Result;

use super::Verdict;
use crate::{args, context::Context};

mod complete;
mod export;
mod forget;
mod import;
mod list;
mod show;

pub(crate) fn run(args: &args::Receipt, context: &Context) -> Result<Verdict> {
    match args {
        args::Receipt::List(list) => list::run(list, context),
        args::Receipt::Import(import) => import::run(import, context),
        args::Receipt::Show(show) => show::run(show, context),
        args::Receipt::Export(export) => export::run(export, context),
        args::Receipt::Forget(forget) => forget::run(forget, context),
        args::Receipt::Complete(complete) => complete::run(complete, context),
    }
}
