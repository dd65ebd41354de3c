//! Where a table's Parquet files rest: a folder or a list of files, local or in an object store. A small table may be in memory.

use std::{path::Path, sync::Arc};

use datafusion::{
    arrow::{array::RecordBatch, datatypes::SchemaRef},
    datasource::{
        MemTable,
        file_format::parquet::ParquetFormat,
        listing::{ListingOptions, ListingTable, ListingTableConfig, ListingTableUrl},
    },
    error::DataFusionError,
    execution::{context::SessionContext, object_store::ObjectStoreUrl},
};
use futures::TryStreamExt;
use object_store::{ObjectStore, local::LocalFileSystem, memory::InMemory, path::Path as StorePath};

use super::error::Error;

const ENDING: &str = ".parquet";

/// A table's Parquet files.
#[derive(Debug, Clone)]
pub struct TableFiles {
    store: Arc<dyn ObjectStore>,
    places: Vec<FileLocation>,
    /// The rows of a table that has no files.
    held: Option<RecordBatch>,
    /// The columns, where files may lack some of them; none: those of a file.
    columns: Option<SchemaRef>,
    /// Whether numbers of a made sample are among its rows.
    made: bool,
}

#[derive(Debug, Clone)]
enum FileLocation {
    /// All files in it whose names end in `.parquet`, not those in folders within.
    Folder(StorePath),
    File(StorePath),
}

impl TableFiles {
    /// Local files and folders. Of a folder all files are read whose names end in `.parquet`.
    ///
    /// # Errors
    ///
    /// [`Error::Files`] where one does not exist, or is a file whose name does not end in `.parquet`.
    pub fn local<P: AsRef<Path>>(paths: impl IntoIterator<Item = P>) -> Result<Self, Error> {
        let place = |path: P| {
            let path = path.as_ref();
            let stored = StorePath::from_filesystem_path(path).map_err(|error| Error::Files(error.to_string()))?;
            if path.is_dir() {
                return Ok(FileLocation::Folder(stored));
            }
            if !stored.as_ref().ends_with(ENDING) {
                return Err(Error::Files(format!("`{}` is not a file {ENDING}", path.display())));
            }
            Ok(FileLocation::File(stored))
        };
        let places = paths.into_iter().map(place).collect::<Result<_, _>>()?;
        Ok(Self { store: Arc::new(LocalFileSystem::new()), places, held: None, columns: None, made: false })
    }

    /// The same, of which is said whether numbers of a made sample are among its rows.
    #[must_use]
    pub fn made(self, made: bool) -> Self {
        Self { made, ..self }
    }

    /// Whether numbers of a made sample are among its rows.
    pub(crate) fn is_made(&self) -> bool {
        self.made
    }

    /// How many rows it has, if they are in memory.
    pub(crate) fn n_held(&self) -> Option<usize> {
        self.held.as_ref().map(RecordBatch::num_rows)
    }

    /// No file at all: a report reads a table without rows. For who knows what a report makes of nothing, such as counts of 0.
    #[must_use]
    pub fn none(schema: SchemaRef) -> Self {
        Self::held(RecordBatch::new_empty(schema))
    }

    /// No file, but rows that are in memory: few.
    #[must_use]
    pub fn held(rows: RecordBatch) -> Self {
        Self { store: Arc::new(InMemory::new()), places: Vec::new(), held: Some(rows), columns: None, made: false }
    }

    /// All files in a folder of an object store whose names end in `.parquet`.
    #[must_use]
    pub fn stored(store: Arc<dyn ObjectStore>, folder: StorePath) -> Self {
        Self { store, places: vec![FileLocation::Folder(folder)], held: None, columns: None, made: false }
    }

    /// These files of an object store, with these columns; one that a file does not have is null there.
    #[must_use]
    pub fn chosen(store: Arc<dyn ObjectStore>, files: impl IntoIterator<Item = StorePath>, columns: SchemaRef) -> Self {
        let places: Vec<_> = files.into_iter().map(FileLocation::File).collect();
        if places.is_empty() {
            return Self::none(columns);
        }
        Self { store, places, held: None, columns: Some(columns), made: false }
    }

    /// Makes the files the table `name` of the context; false where there is none.
    pub(crate) async fn register(&self, context: &SessionContext, name: &str) -> Result<bool, DataFusionError> {
        if let Some(rows) = &self.held {
            let table = MemTable::try_new(rows.schema(), vec![vec![rows.clone()]])?;
            context.register_table(name, Arc::new(table))?;
            return Ok(true);
        }
        if !self.any().await? {
            return Ok(false);
        }
        // Each table has a store of its own, so that tables may rest in different places.
        let store_url = store_url(name)?;
        context.register_object_store(store_url.as_ref(), Arc::clone(&self.store));
        let url = |place: &FileLocation| ListingTableUrl::parse(format!("table://{name}/{}", place.in_url()));
        let urls = self.places.iter().map(url).collect::<Result<_, _>>()?;
        let options = ListingOptions::new(Arc::new(ParquetFormat::default())).with_file_extension(ENDING);
        let config = ListingTableConfig::new_with_multi_paths(urls).with_listing_options(options);
        let config = match &self.columns {
            Some(columns) => config.with_schema(Arc::clone(columns)),
            None => config.infer_schema(&context.state()).await?,
        };
        context.register_table(name, Arc::new(ListingTable::try_new(config)?))?;
        Ok(true)
    }

    async fn any(&self) -> Result<bool, DataFusionError> {
        for place in &self.places {
            let found = match place {
                FileLocation::File(_) => true,
                FileLocation::Folder(folder) => {
                    let mut files = self.store.list(Some(folder)).try_filter(|file| {
                        let ours = file.location.as_ref().ends_with(ENDING);
                        std::future::ready(ours)
                    });
                    files.try_next().await?.is_some()
                }
            };
            if found {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Whose files a scan of the table `name` reads.
pub(super) fn store_url(name: &str) -> Result<ObjectStoreUrl, DataFusionError> {
    ObjectStoreUrl::parse(format!("table://{name}"))
}

impl FileLocation {
    /// The path in a URL, where some characters mean something else.
    fn in_url(&self) -> String {
        let (path, end) = match self {
            Self::Folder(path) => (path, "/"),
            Self::File(path) => (path, ""),
        };
        path.as_ref().replace('%', "%25").replace('?', "%3F").replace('#', "%23") + end
    }
}
