//! The models of a node: loaded when they are asked for, put away when memory is short.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use tally_engine::{Engine, EngineError, Kernels, Language, Model, batch::BatchLimits};
use thiserror::Error;
use tokio::sync::OnceCell;

use crate::worker::Worker;

#[cfg(test)]
mod tests;

/// Where models come from.
pub trait ModelSource: fmt::Debug + Send + Sync + 'static {
    /// The names of all models, in order.
    fn names(&self) -> Vec<String>;

    /// The size of a model's file in bytes; `None` if there is no such model.
    fn size_bytes(&self, name: &str) -> Option<u64>;

    /// Reads a model.
    ///
    /// # Errors
    /// If it cannot be read, in words for the operator.
    fn load(&self, name: &str) -> Result<Arc<Model>, String>;
}

/// What models are computed with.
#[derive(Clone, Copy, Debug)]
pub struct ShelfLimits {
    /// Kernels of every engine.
    pub kernels: Kernels,
    /// Threads of every engine.
    pub threads: usize,
    /// Most bytes of all loaded models and their caches.
    pub memory_bytes_max: u64,
    /// Limits of each model's batch.
    pub batch: BatchLimits,
}

/// Why a model cannot be used.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum ShelfError {
    /// No model of this name or root.
    #[error("there is no model `{name}`")]
    Unknown {
        /// What it was called.
        name: String,
    },
    /// It does not fit beside those that are at work.
    #[error("model `{name}` needs {needed} bytes, {free} are free until others have done")]
    Busy {
        /// Its name.
        name: String,
        /// What it needs.
        needed: u64,
        /// What is free.
        free: u64,
    },
    /// It would not fit even alone.
    #[error("model `{name}` needs {needed} bytes, this node gives {limit} to its models")]
    TooLarge {
        /// Its name.
        name: String,
        /// What it needs.
        needed: u64,
        /// The limit.
        limit: u64,
    },
    /// It cannot be read.
    #[error("model `{name}` cannot be loaded: {reason}")]
    Load {
        /// Its name.
        name: String,
        /// Why.
        reason: String,
    },
}

/// A model that is loaded and at work.
#[derive(Debug)]
pub struct Loaded {
    /// Its name.
    pub name: String,
    /// The model.
    pub model: Arc<Model>,
    /// Its tokenizer and template.
    pub language: Arc<Language>,
    /// The thread that computes.
    pub worker: Worker,
}

/// All models of a node.
#[derive(Debug)]
pub struct Shelf {
    source: Arc<dyn ModelSource>,
    limits: ShelfLimits,
    places: Mutex<Places>,
}

#[derive(Debug, Default)]
struct Places {
    by_name: BTreeMap<String, Place>,
    /// Counts uses, to know which place was used least recently.
    clock: u64,
}

#[derive(Debug)]
struct Place {
    cell: Arc<OnceCell<Arc<Loaded>>>,
    size_bytes: u64,
    used_at: u64,
}

impl Shelf {
    /// An empty shelf.
    #[must_use]
    pub fn new(source: Arc<dyn ModelSource>, limits: ShelfLimits) -> Self {
        Self { source, limits, places: Mutex::default() }
    }

    /// Names of all models, in order, and the root of each that is loaded.
    #[must_use]
    pub fn list(&self) -> Vec<(String, Option<Arc<Loaded>>)> {
        let places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let loaded = |name: &str| places.by_name.get(name)?.cell.get().cloned();
        self.source.names().into_iter().map(|name| (name.clone(), loaded(&name))).collect()
    }

    /// A model by name, or by the root of one that is loaded; loads it if need be.
    ///
    /// # Errors
    /// See [`ShelfError`].
    pub async fn get(&self, name: &str) -> Result<Arc<Loaded>, ShelfError> {
        let (name, cell) = self.reserve(name)?;
        let loading = cell.get_or_try_init(|| self.load(&name));
        let loaded = loading.await.cloned();
        if loaded.is_err() {
            self.give_up(&name, &cell);
        }
        loaded
    }

    /// Finds or makes the model's place, putting away models that nobody uses until it fits.
    #[expect(clippy::type_complexity, reason = "a name and its cell")]
    fn reserve(&self, name: &str) -> Result<(String, Arc<OnceCell<Arc<Loaded>>>), ShelfError> {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        places.clock += 1;
        let now = places.clock;
        let is_root = |place: &Place| {
            place.cell.get().is_some_and(|loaded| loaded.model.root().to_string() == name)
        };
        let by_root = places.by_name.iter().find(|(_, place)| is_root(place));
        let name = by_root.map_or_else(|| name.to_owned(), |(name, _)| name.clone());
        if let Some(place) = places.by_name.get_mut(&name) {
            place.used_at = now;
            return Ok((name, Arc::clone(&place.cell)));
        }
        let unknown = || ShelfError::Unknown { name: name.clone() };
        let file = self.source.size_bytes(&name).ok_or_else(unknown)?;
        let needed = file.saturating_add(self.limits.batch.cache_bytes_max);
        let limit = self.limits.memory_bytes_max;
        if needed > limit {
            return Err(ShelfError::TooLarge { name, needed, limit });
        }
        let used = |places: &Places| places.by_name.values().map(|place| place.size_bytes).sum();
        loop {
            let used: u64 = used(&places);
            let free = limit.saturating_sub(used);
            if needed <= free {
                break;
            }
            // A place that is held by nobody but the shelf can go.
            let is_idle = |place: &Place| {
                Arc::strong_count(&place.cell) == 1
                    && place.cell.get().is_none_or(|loaded| Arc::strong_count(loaded) == 1)
            };
            let idle = places.by_name.iter().filter(|(_, place)| is_idle(place));
            let Some(oldest) = idle.min_by_key(|(_, place)| place.used_at) else {
                return Err(ShelfError::Busy { name, needed, free });
            };
            let oldest = oldest.0.clone();
            places.by_name.remove(&oldest);
        }
        let cell = Arc::new(OnceCell::new());
        let place = Place { cell: Arc::clone(&cell), size_bytes: needed, used_at: now };
        places.by_name.insert(name.clone(), place);
        Ok((name, cell))
    }

    /// Takes back the place of a model that could not be loaded.
    fn give_up(&self, name: &str, cell: &Arc<OnceCell<Arc<Loaded>>>) {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        if places.by_name.get(name).is_some_and(|place| Arc::ptr_eq(&place.cell, cell)) {
            places.by_name.remove(name);
        }
    }

    async fn load(&self, name: &str) -> Result<Arc<Loaded>, ShelfError> {
        let failed = |reason: String| ShelfError::Load { name: name.to_owned(), reason };
        let (source, limits, wanted) = (Arc::clone(&self.source), self.limits, name.to_owned());
        let loading = tokio::task::spawn_blocking(move || -> Result<Loaded, String> {
            let model = source.load(&wanted)?;
            let language = Language::of(&model).map_err(|error| error.to_string())?;
            let language = Arc::new(language);
            let engine = Engine::new(Arc::clone(&model), limits.kernels, limits.threads);
            let engine = engine.map_err(|error: EngineError| error.to_string())?;
            let worker =
                Worker::start(Arc::new(engine), limits.batch).map_err(|error| error.to_string())?;
            Ok(Loaded { name: wanted, model, language, worker })
        });
        let loaded = loading.await.map_err(|error| failed(error.to_string()))?;
        loaded.map(Arc::new).map_err(failed)
    }
}
