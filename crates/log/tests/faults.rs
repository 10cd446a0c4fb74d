//! The failure matrix: every storage step fails once, without and with having taken effect and, for
//! writes, half; then the process lives on, or the power is cut.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::sync::Arc;

use common::{World, cosigner_key, log_key};
use tally_log::{
    Cosigner, Log, LogError, Storage,
    dangerous::{Fault, Faulty, Seed},
};

/// One life: opens, appends across a tile's border, publishes, cosigns. Stops at the first error
/// and tries to go on after it, as a careless program would.
fn live(world: &mut World, log: &Arc<dyn Storage>, cosigner: &Arc<dyn Storage>) {
    let Ok((mut log, mut cosigner)) = World::open(log, cosigner) else { return };
    let outcome = script(world, &mut log, &mut cosigner);
    if outcome.is_err() {
        let _ = world.append(&mut log, 1);
        let _ = world.cosign(&mut log, &mut cosigner);
        let _ = log.publish();
        let _ = world.append(&mut log, 1);
    }
}

fn script(world: &mut World, log: &mut Log, cosigner: &mut Cosigner) -> Result<(), LogError> {
    world.append(log, 3)?;
    world.cosign(log, cosigner)?;
    log.publish()?;
    world.append(log, 254)?;
    world.append(log, 1)?;
    world.cosign(log, cosigner)?;
    log.publish()?;
    world.append(log, 1)
}

/// Counts the steps of a life without faults.
fn step_count() -> u64 {
    let mut world = World::new();
    let disks = world.disks();
    let log = Faulty::new(Arc::new(disks.log.clone()), u64::MAX, Fault::Without);
    let cosigner = log.beside(Arc::new(disks.cosigner.clone()));
    let counter = log.beside(Arc::new(disks.log.clone()));
    live(&mut world, &(Arc::new(log) as _), &(Arc::new(cosigner) as _));
    assert_eq!(world.acknowledged.len(), 259);
    world.expect_sound(&disks, "no fault");
    counter.steps_taken()
}

fn matrix(fault: Fault) {
    let steps = step_count();
    assert!(steps > 100, "{steps} steps");
    for step in 0..steps {
        for cut in [false, true] {
            let context = format!("step {step} of {steps} fails {fault:?}, power cut: {cut}");
            let mut world = World::new();
            let disks = world.disks();
            let log = Faulty::new(Arc::new(disks.log.clone()), step, fault);
            let cosigner = log.beside(Arc::new(disks.cosigner.clone()));
            let counter = log.beside(Arc::new(disks.log.clone()));
            live(&mut world, &(Arc::new(log) as _), &(Arc::new(cosigner) as _));
            assert!(counter.has_failed(), "{context}");
            let disks = if cut {
                disks.log.crash();
                disks.cosigner.crash();
                world.disks()
            } else {
                disks
            };
            world.expect_sound(&disks, &context);
        }
    }
}

#[test]
fn no_step_that_fails_without_effect_loses_an_acknowledged_entry() {
    matrix(Fault::Without);
}

#[test]
fn no_step_that_fails_with_effect_loses_an_acknowledged_entry() {
    matrix(Fault::With);
}

#[test]
fn no_torn_write_loses_an_acknowledged_entry() {
    matrix(Fault::Torn);
}

/// After a failed sync the pages may be readable and yet never be written: what is acknowledged
/// after the next opening must not rest on them.
#[test]
fn pages_that_a_failed_sync_forgot_are_written_again() {
    let steps = step_count();
    for step in 0..steps {
        let mut world = World::new();
        let disks = world.disks();
        let log = Faulty::new(Arc::new(disks.log.clone()), step, Fault::Without);
        let cosigner = log.beside(Arc::new(disks.cosigner.clone()));
        live(&mut world, &(Arc::new(log) as _), &(Arc::new(cosigner) as _));
        disks.log.forget_dirty_pages("segment");
        let context = format!("step {step} of {steps}");
        world.expect_sound(&disks, &context);
        disks.log.crash();
        disks.cosigner.crash();
        world.expect_sound(&world.disks(), &format!("{context}, after a power cut"));
    }
}

#[test]
fn a_log_whose_making_failed_can_be_made_or_opened() {
    for fault in [Fault::Without, Fault::With, Fault::Torn] {
        for cut in [false, true] {
            let mut step = 0;
            loop {
                let folder = common::folder();
                let disk = tally_log::dangerous::Unsynced::new(folder.path()).unwrap();
                let faulty = Faulty::new(Arc::new(disk.clone()), step, fault);
                let counter = faulty.beside(Arc::new(disk.clone()));
                let made = Log::create(Arc::new(faulty), log_key()).map(drop);
                let disk = if cut {
                    disk.crash();
                    tally_log::dangerous::Unsynced::new(folder.path()).unwrap()
                } else {
                    disk
                };
                let disk: Arc<dyn Storage> = Arc::new(disk);
                let context = format!("step {step} fails {fault:?}, power cut: {cut}");
                let opened = Log::open(Arc::clone(&disk), log_key(), &[]);
                let mut log = match opened {
                    Ok(log) => log,
                    Err(LogError::NoLog { .. }) => {
                        assert!(made.is_err(), "{context}");
                        Log::create(disk, log_key()).unwrap()
                    }
                    Err(error) => panic!("{context}: {error}"),
                };
                log.append(&[common::entry(0)]).unwrap();
                log.publish().unwrap();
                if !counter.has_failed() {
                    assert!(made.is_ok(), "{context}");
                    break;
                }
                step += 1;
            }
            assert!(step > 20, "{step} steps");
        }
    }
}

#[test]
fn a_cosigner_whose_making_failed_can_be_made_or_opened() {
    for fault in [Fault::Without, Fault::With, Fault::Torn] {
        for step in 0..20 {
            let folder = common::folder();
            let disk = tally_log::dangerous::Unsynced::new(folder.path()).unwrap();
            let faulty = Faulty::new(Arc::new(disk.clone()), step, fault);
            let _ = Cosigner::create(Arc::new(faulty), cosigner_key());
            disk.crash();
            let disk: Arc<dyn Storage> =
                Arc::new(tally_log::dangerous::Unsynced::new(folder.path()).unwrap());
            match Cosigner::open(Arc::clone(&disk), cosigner_key()) {
                Ok(_) => {}
                Err(LogError::NoLog { .. }) => {
                    drop(Cosigner::create(disk, cosigner_key()).unwrap())
                }
                Err(error) => panic!("step {step} fails {fault:?}: {error}"),
            }
        }
    }
}

/// Lives upon lives on one folder, each ended by a power cut at a random step after which a random
/// part of what was not synced is on the disk all the same.
fn crash_repeatedly(seeds: core::ops::Range<u64>) {
    for seed in seeds {
        let mut world = World::new();
        let mut chance = Seed::new(seed);
        for life in 0..4 {
            let disks = world.disks();
            let step = chance.below(260);
            let fault = [Fault::Without, Fault::With, Fault::Torn]
                [usize::try_from(chance.below(3)).unwrap()];
            let log = Faulty::new(Arc::new(disks.log.clone()), step, fault);
            let cosigner = log.beside(Arc::new(disks.cosigner.clone()));
            random_life(&mut world, &(Arc::new(log) as _), &(Arc::new(cosigner) as _), &mut chance);
            disks.log.crash_in_part(&mut chance).unwrap();
            disks.cosigner.crash_in_part(&mut chance).unwrap();
            let context = format!("seed {seed}, life {life}, step {step}, {fault:?}");
            world.expect_sound(&world.disks(), &context);
        }
    }
}

fn random_life(
    world: &mut World,
    log: &Arc<dyn Storage>,
    cosigner: &Arc<dyn Storage>,
    chance: &mut Seed,
) {
    let Ok((mut log, mut cosigner)) = World::open(log, cosigner) else { return };
    for _ in 0..30 {
        let done = match chance.below(6) {
            0 => log.publish(),
            1 => world.cosign(&mut log, &mut cosigner),
            2 => world.append(&mut log, 1 + chance.below(300)),
            _ => world.append(&mut log, 1 + chance.below(4)),
        };
        if done.is_err() {
            return;
        }
    }
}

#[test]
fn power_cuts_at_random_moments_lose_nothing_acknowledged() {
    crash_repeatedly(0..60);
}

#[test]
fn power_cuts_at_other_random_moments_lose_nothing_acknowledged() {
    crash_repeatedly(1_000..1_060);
}
