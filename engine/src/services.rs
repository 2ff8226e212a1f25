//! Services that a program lends to its actors: the page's hub of frames, a ledger, a connection.
//!
//! An actor declares what it requires with [`Ports::needs`](crate::Ports::needs); a graph is refused before anything
//! starts if the program does not provide it.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::sync::Arc;

/// The services of a program, by type.
#[derive(Clone, Default)]
pub struct Services {
    all: HashMap<TypeId, Arc<dyn Any + Send + Sync>>,
}

/// A service that an actor requires.
#[derive(Clone, Copy, Debug)]
pub struct Need {
    pub(crate) id: TypeId,
    /// Last segment of its type's Rust path, for messages.
    pub name: &'static str,
}

impl Need {
    pub(crate) fn of<T: Any + Send + Sync>() -> Self {
        let path = std::any::type_name::<T>();
        Self {
            id: TypeId::of::<T>(),
            name: path.rsplit("::").next().unwrap_or(path),
        }
    }

    /// Returns whether it is of this type.
    pub fn is_of<T: Any + Send + Sync>(&self) -> bool {
        self.id == TypeId::of::<T>()
    }
}

impl Services {
    /// Creates an empty set of services.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a service, replacing one of the same type.
    pub fn with<T: Any + Send + Sync>(mut self, service: Arc<T>) -> Self {
        self.all.insert(TypeId::of::<T>(), service);
        self
    }

    /// Returns the service of a type, if the program has it.
    pub fn get<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        let service = self.all.get(&TypeId::of::<T>())?;
        Arc::clone(service).downcast().ok()
    }

    pub(crate) fn has(&self, need: &Need) -> bool {
        self.all.contains_key(&need.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_found_by_its_type() {
        let services = Services::new()
            .with(Arc::new(7u32))
            .with(Arc::new("x".to_owned()));
        assert_eq!(services.get::<u32>().as_deref(), Some(&7));
        assert!(services.has(&Need::of::<String>()) && !services.has(&Need::of::<u64>()));
        assert!(services.get::<u64>().is_none());
    }
}
