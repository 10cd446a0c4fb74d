//! `tally registry`: what this home has registered; `tally split`: how prices are divided.

use anyhow::Result;
use serde_json::{Value, json};
use tally_attribution::{
    did::to_did,
    policy_file::text_of,
    registry::{Registered, Registry},
};
use tally_core::{
    account::Account,
    attribution::{Pool, SplitPolicy},
    contribution::Contribution,
};
use tally_server::view::time_text;

mod export;

use super::{Verdict, write_new};
use crate::{
    args::{RegistryCommand, SplitCommand},
    context::Context,
    contributions::{self, indices, named, shown},
    output::{Output, quoted},
};

pub(crate) fn run(args: &RegistryCommand, context: &Context) -> Result<Verdict> {
    let home = context.existing_home()?;
    let folder = contributions::registry(&home)?;
    let registry = folder.registry();
    match args {
        RegistryCommand::List => list(registry, context.output)?,
        RegistryCommand::Show { contribution } => {
            show(named(registry.all(), contribution)?, registry, context.output)?;
        }
        RegistryCommand::Export(args) => export::run(args, &home, registry, context.output)?,
        RegistryCommand::Verify => return verify(context, &home),
    }
    Ok(Verdict::Satisfied)
}

fn list(registry: &Registry, output: Output) -> Result<()> {
    let all: Vec<Value> = registry.all().iter().map(view).collect();
    output.json(&json!({ "contributions": all }))?;
    if registry.all().is_empty() {
        output.note(
            "nothing is registered\n\nhint: `tally contribute dataset FOLDER --name NAME` begins",
        );
        return Ok(());
    }
    for it in registry.all() {
        let Contribution { kind, name, licence, contributor, extent, .. } = &it.contribution;
        output.line(&format!("{}  {kind:<8} {}", shown(&it.manifest), quoted(name)))?;
        output.line(&format!(
            "                  entry {}, {}, {} of {} bytes, by {}",
            it.log_index,
            quoted(licence),
            extent.count,
            extent.size_bytes,
            to_did(contributor)
        ))?;
    }
    Ok(())
}

fn view(it: &Registered) -> Value {
    let contribution = &it.contribution;
    let parents = contribution.parents.iter().map(|parent| {
        json!({
            "relation": parent.relation.to_string(),
            "manifest": parent.manifest.to_string(),
            "share_bps": parent.share_bps,
        })
    });
    json!({
        "manifest": it.manifest.to_string(),
        "log_index": it.log_index,
        "kind": contribution.kind.to_string(),
        "name": contribution.name,
        "licence": contribution.licence,
        "contributor": to_did(&contribution.contributor),
        "payee": payee_text(contribution),
        "subject": contribution.subject.to_string(),
        "count": contribution.extent.count,
        "size_bytes": contribution.extent.size_bytes,
        "time_ms": contribution.time_ms,
        "version": contribution.version,
        "source": contribution.source,
        "parents": parents.collect::<Vec<_>>(),
    })
}

fn payee_text(contribution: &Contribution) -> String {
    account_text(&contribution.account())
}

/// An account as people name it.
pub(crate) fn account_text(account: &Account) -> String {
    match account {
        Account::Commons => "commons".into(),
        Account::Feedback => "feedback".into(),
        Account::Contributor(key) => to_did(key),
    }
}

fn show(it: &Registered, registry: &Registry, output: Output) -> Result<()> {
    output.json(&view(it))?;
    let contribution = &it.contribution;
    let row = |name: &str, value: String| output.line(&format!("  {name:<14} {value}"));
    output.line(&format!("{} {}", contribution.kind, quoted(&contribution.name)))?;
    row("manifest", it.manifest.to_string())?;
    row("registered", format!("as entry {} of this home's log", it.log_index))?;
    row("declared by", to_did(&contribution.contributor))?;
    row("at", format!("{} (the contributor's clock)", time_text(contribution.time_ms)))?;
    row("licence", quoted(&contribution.licence))?;
    row("subject", contribution.subject.to_string())?;
    row(
        "extent",
        format!("{} of {} bytes", contribution.extent.count, contribution.extent.size_bytes),
    )?;
    row("earnings go to", payee_text(contribution))?;
    for (name, value) in [("version", &contribution.version), ("source", &contribution.source)] {
        if let Some(value) = value {
            row(name, quoted(value))?;
        }
    }
    for parent in &contribution.parents {
        let name = registry
            .get(&parent.manifest)
            .map_or_else(String::new, |it| it.contribution.name.clone());
        row(
            &parent.relation.to_string(),
            format!(
                "{} {} ({} bps of its earnings)",
                shown(&parent.manifest),
                quoted(&name),
                parent.share_bps
            ),
        )?;
    }
    let is_child = |child: &&Registered| {
        child.contribution.parents.iter().any(|parent| parent.manifest == it.manifest)
    };
    for child in registry.all().iter().filter(is_child) {
        row("used by", format!("{} {}", shown(&child.manifest), quoted(&child.contribution.name)))?;
    }
    Ok(())
}

fn verify(context: &Context, home: &crate::home::Home) -> Result<Verdict> {
    let output = context.output;
    let (mut found, mut damaged) = (vec![], false);
    for index in indices(home)? {
        let bar = output.bar("verifying", 1000);
        let result = index.verify(&mut |done| bar.set_position(done.into()));
        bar.finish_and_clear();
        let fault = result.err().map(|error| error.to_string());
        damaged |= fault.is_some();
        output.line(&match &fault {
            None => format!(
                "index {} is sound: {} documents",
                index.root(),
                index.shard().document_count
            ),
            Some(fault) => format!("index {} is damaged: {fault}", index.root()),
        })?;
        found.push(json!({ "root": index.root().to_string(), "fault": fault }));
    }
    output.json(&json!({ "indices": found }))?;
    Ok(if damaged { Verdict::NotSatisfied } else { Verdict::Satisfied })
}

pub(crate) fn split(args: &SplitCommand, context: &Context) -> Result<Verdict> {
    match args {
        SplitCommand::Show { file } => {
            let policy = match file {
                Some(file) => contributions::read_split_policy(file)?,
                None => contributions::split_policy(&context.existing_home()?)?,
            };
            show_policy(&policy, context.output)?;
        }
        SplitCommand::New { out } => {
            let policy = contributions::split_policy(&context.open_home()?)?;
            write_new(out, text_of(&policy).as_bytes())?;
            context.output.json(&json!({ "file": out, "digest": policy.digest().to_string() }))?;
            context
                .output
                .note(&format!("written to {}; edit it, then `tally split show`", out.display()));
        }
    }
    Ok(Verdict::Satisfied)
}

fn show_policy(policy: &SplitPolicy, output: Output) -> Result<()> {
    let pools = Pool::ALL.map(|pool| (pool.to_string(), json!(policy.pools_bps[pool.place()])));
    output.json(&json!({
        "digest": policy.digest().to_string(),
        "name": policy.name,
        "asset": policy.asset,
        "tariff": {
            "request": policy.tariff.request,
            "input_token": policy.tariff.input_token,
            "output_token": policy.tariff.output_token,
        },
        "pools_bps": serde_json::Map::from_iter(pools),
        "window": policy.window,
        "challenge_s": policy.challenge_s,
        "feedback_cap_bps": policy.feedback_cap_bps,
    }))?;
    output.line(&format!("Split policy {} ({})", quoted(&policy.name), policy.digest()))?;
    let asset = quoted(&policy.asset);
    let tariff = policy.tariff;
    output.line(&format!(
        "  an answer costs {} for the request, {} an input token and {} an output token, in billionths of {asset}",
        tariff.request, tariff.input_token, tariff.output_token
    ))?;
    for pool in Pool::ALL {
        let bps = policy.pools_bps[pool.place()];
        let bar = "█".repeat(usize::from(bps / 250));
        output.line(&format!(
            "  {:<9} {:>3}.{:02} %  {bar}",
            pool.to_string(),
            bps / 100,
            bps % 100
        ))?;
    }
    output.line(&format!("  words count from {} equal bytes on", policy.window))?;
    output.line(&format!("  a transfer can be disputed for {} seconds", policy.challenge_s))
}
