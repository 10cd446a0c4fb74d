//! Models that come and go under a budget of memory.

use std::{
    path::Path,
    sync::atomic::{AtomicUsize, Ordering},
};

use super::*;

/// Three names for one model, each of a size of its own.
#[derive(Debug, Default)]
struct Names {
    loads: AtomicUsize,
}

impl ModelSource for Names {
    fn names(&self) -> Vec<String> {
        ["broken", "first", "huge", "second"].map(String::from).to_vec()
    }

    fn size_bytes(&self, name: &str) -> Option<u64> {
        match name {
            "first" | "second" | "broken" => Some(1000),
            "huge" => Some(5000),
            _ => None,
        }
    }

    fn load(&self, name: &str) -> Result<Arc<Model>, String> {
        self.loads.fetch_add(1, Ordering::Relaxed);
        if name == "broken" {
            return Err("its file is damaged".into());
        }
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../models/default/default.tally");
        Model::open(Path::new(path)).map(Arc::new).map_err(|error| error.to_string())
    }
}

/// A shelf with room for one of the small models at a time.
fn shelf() -> (Shelf, Arc<Names>) {
    let batch =
        BatchLimits { pass_tokens_max: 8, sequences_max: 2, cache_bytes_max: 500, waiting_max: 2 };
    let kernels = Kernels::detect();
    let limits = ShelfLimits { kernels, threads: 1, memory_bytes_max: 2000, batch };
    let names = Arc::new(Names::default());
    (Shelf::new(Arc::clone(&names) as Arc<dyn ModelSource>, limits), names)
}

fn loaded_names(shelf: &Shelf) -> Vec<String> {
    let list = shelf.list().into_iter();
    list.filter(|(_, loaded)| loaded.is_some()).map(|(name, _)| name).collect()
}

#[tokio::test]
async fn a_model_is_loaded_once_and_found_by_name_and_root() {
    let (shelf, names) = shelf();
    let (a, b) = tokio::join!(shelf.get("first"), shelf.get("first"));
    let (a, b) = (a.unwrap(), b.unwrap());
    assert!(Arc::ptr_eq(&a, &b));
    let by_root = shelf.get(&a.model.root().to_string()).await.unwrap();
    assert!(Arc::ptr_eq(&a, &by_root));
    assert_eq!(names.loads.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_model_at_work_stays_and_an_idle_one_makes_room() {
    let (shelf, _) = shelf();
    let first = shelf.get("first").await.unwrap();
    let error = shelf.get("second").await.unwrap_err();
    assert!(matches!(error, ShelfError::Busy { needed: 1500, free: 500, .. }), "{error}");
    assert_eq!(loaded_names(&shelf), ["first"]);
    drop(first);
    shelf.get("second").await.unwrap();
    assert_eq!(loaded_names(&shelf), ["second"]);
}

#[tokio::test]
async fn what_cannot_be_had_says_why_and_takes_no_room() {
    let (shelf, _) = shelf();
    let error = shelf.get("third").await.unwrap_err();
    assert!(matches!(error, ShelfError::Unknown { .. }), "{error}");
    let error = shelf.get("huge").await.unwrap_err();
    assert!(matches!(error, ShelfError::TooLarge { needed: 5500, limit: 2000, .. }), "{error}");
    for _ in 0..2 {
        let error = shelf.get("broken").await.unwrap_err();
        assert!(error.to_string().contains("its file is damaged"), "{error}");
    }
    assert!(shelf.get("first").await.is_ok(), "the broken model holds no room");
}
