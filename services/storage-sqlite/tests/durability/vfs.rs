//! A shim below SQLite: passes everything on to the real file system, knows what has been fsynced and what has not, and
//! notifies a watcher of each write, fsync and truncation before it happens.

#![allow(unsafe_code, reason = "a VFS is a table of C functions")]

use std::collections::HashMap;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError};
use std::{ptr, slice};

use rusqlite::ffi;

/// By which name SQLite knows the shim.
pub const NAME: &str = "watched";

/// What is about to happen to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    Write,
    Truncate,
    Sync,
    /// The fsync has succeeded, but SQLite does not know yet.
    Synced,
}

/// What becomes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Pass,
    /// It is not done, and SQLite gets an I/O error.
    Fail,
}

/// Sees every event below one directory.
pub type Watcher = Arc<dyn Fn(Event, &Path) -> Verdict + Send + Sync>;

/// One file: what a power cut leaves for sure, and what it may take.
#[derive(Clone, Default)]
pub struct TrackedFile {
    pub durable: Vec<u8>,
    pub pending: Vec<Change>,
}

#[derive(Clone)]
pub enum Change {
    Write(usize, Vec<u8>),
    Truncate(usize),
}

impl Change {
    pub fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Self::Write(offset, bytes) => {
                let end = offset + bytes.len();
                if content.len() < end {
                    content.resize(end, 0);
                }
                content[*offset..end].copy_from_slice(bytes);
            }
            Self::Truncate(length) => content.truncate(*length),
        }
    }
}

#[derive(Default)]
struct Disk {
    files: HashMap<PathBuf, TrackedFile>,
    watchers: HashMap<PathBuf, Watcher>,
}

static DISK: Mutex<Option<Disk>> = Mutex::new(None);

fn with_disk<T>(use_it: impl FnOnce(&mut Disk) -> T) -> T {
    let mut disk: MutexGuard<'_, Option<Disk>> = DISK.lock().unwrap_or_else(PoisonError::into_inner);
    use_it(disk.get_or_insert_default())
}

/// Makes the shim known to SQLite, and has `watcher` see what happens in `directory`.
pub fn watch(directory: &Path, watcher: Watcher) {
    static REGISTERED: Once = Once::new();
    REGISTERED.call_once(register);
    with_disk(|disk| disk.watchers.insert(directory.to_owned(), watcher));
}

/// The files in `directory` as the disk knows them now.
pub fn files_in(directory: &Path) -> HashMap<PathBuf, TrackedFile> {
    with_disk(|disk| {
        let files = disk.files.iter().filter(|(path, _)| path.parent() == Some(directory));
        files.map(|(path, file)| (path.clone(), file.clone())).collect()
    })
}

/// Asks the watcher of the file's directory. Not under the disk's lock: a watcher may look at the disk.
fn verdict(event: Event, path: &Path) -> Verdict {
    let watcher = with_disk(|disk| path.parent().and_then(|directory| disk.watchers.get(directory)).cloned());
    watcher.map_or(Verdict::Pass, |watcher| watcher(event, path))
}

fn change(path: &Path, change: Change) {
    with_disk(|disk| disk.files.entry(path.to_owned()).or_default().pending.push(change));
}

fn make_durable(path: &Path) {
    with_disk(|disk| {
        let file = disk.files.entry(path.to_owned()).or_default();
        for change in file.pending.drain(..) {
            change.apply(&mut file.durable);
        }
    });
}

/// What SQLite sees as a file: behind it in the same allocation lies the real one.
#[repr(C)]
struct ShimFile {
    base: ffi::sqlite3_file,
    /// Leaked: there are few files, and tests end.
    path: *const PathBuf,
}

fn real_vfs() -> *mut ffi::sqlite3_vfs {
    // SAFETY: the default VFS exists for as long as the process does.
    unsafe { ffi::sqlite3_vfs_find(c"unix".as_ptr()) }
}

/// # Safety
/// `file` must be one that `open` below was called with.
unsafe fn real(file: *mut ffi::sqlite3_file) -> *mut ffi::sqlite3_file {
    unsafe { file.cast::<ShimFile>().add(1).cast() }
}

/// # Safety
/// `file` must be one that `open` below has opened.
unsafe fn path_of<'a>(file: *mut ffi::sqlite3_file) -> &'a Path {
    unsafe { &*(*file.cast::<ShimFile>()).path }
}

fn register() {
    // SAFETY: the copy of the real VFS differs in name, size and two functions; the rest does not look at it. It is
    // leaked, as SQLite demands.
    unsafe {
        let mut vfs = *real_vfs();
        vfs.zName = c"watched".as_ptr();
        vfs.szOsFile += size_of::<ShimFile>() as c_int;
        vfs.pNext = ptr::null_mut();
        vfs.xOpen = Some(open);
        vfs.xDelete = Some(delete);
        let code = ffi::sqlite3_vfs_register(Box::leak(Box::new(vfs)), 0);
        assert_eq!(code, ffi::SQLITE_OK);
    }
}

unsafe extern "C" fn open(
    _: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    out_flags: *mut c_int,
) -> c_int {
    unsafe {
        let real_open = (*real_vfs()).xOpen.expect("every VFS opens files");
        let code = real_open(real_vfs(), name, real(file), flags, out_flags);
        (*file).pMethods = ptr::null();
        if code == ffi::SQLITE_OK {
            let name = if name.is_null() { c"" } else { CStr::from_ptr(name) };
            let path = PathBuf::from(name.to_str().expect("test paths are UTF-8"));
            with_disk(|disk| {
                // What is there before the shim has seen it counts as durable.
                let found = || TrackedFile { durable: std::fs::read(&path).unwrap_or_default(), pending: vec![] };
                disk.files.entry(path.clone()).or_insert_with(found);
            });
            (*file.cast::<ShimFile>()).path = Box::leak(Box::new(path));
            (*file).pMethods = &METHODS;
        }
        code
    }
}

unsafe extern "C" fn delete(_: *mut ffi::sqlite3_vfs, name: *const c_char, sync_directory: c_int) -> c_int {
    unsafe {
        let path = Path::new(CStr::from_ptr(name).to_str().expect("test paths are UTF-8"));
        with_disk(|disk| disk.files.remove(path));
        (*real_vfs()).xDelete.expect("every VFS deletes files")(real_vfs(), name, sync_directory)
    }
}

unsafe extern "C" fn write(file: *mut ffi::sqlite3_file, bytes: *const c_void, length: c_int, offset: i64) -> c_int {
    unsafe {
        if verdict(Event::Write, path_of(file)) == Verdict::Fail {
            return ffi::SQLITE_IOERR_WRITE;
        }
        let content = slice::from_raw_parts(bytes.cast::<u8>(), length as usize);
        change(path_of(file), Change::Write(offset as usize, content.to_vec()));
        (*(*real(file)).pMethods).xWrite.expect("files can be written")(real(file), bytes, length, offset)
    }
}

unsafe extern "C" fn truncate(file: *mut ffi::sqlite3_file, length: i64) -> c_int {
    unsafe {
        if verdict(Event::Truncate, path_of(file)) == Verdict::Fail {
            return ffi::SQLITE_IOERR_TRUNCATE;
        }
        change(path_of(file), Change::Truncate(length as usize));
        (*(*real(file)).pMethods).xTruncate.expect("files can be truncated")(real(file), length)
    }
}

unsafe extern "C" fn sync(file: *mut ffi::sqlite3_file, flags: c_int) -> c_int {
    unsafe {
        if verdict(Event::Sync, path_of(file)) == Verdict::Fail {
            return ffi::SQLITE_IOERR_FSYNC;
        }
        // The real fsync would only cost time: the power cuts are the shim's own.
        let _ = flags;
        make_durable(path_of(file));
        verdict(Event::Synced, path_of(file));
        ffi::SQLITE_OK
    }
}

/// Functions that only pass the call on to the real file.
macro_rules! pass_on {
    ($($function:ident = $method:ident($($argument:ident: $kind:ty),*) $(-> $result:ty)?;)*) => {
        $(unsafe extern "C" fn $function(file: *mut ffi::sqlite3_file $(, $argument: $kind)*) $(-> $result)? {
            unsafe {
                let file = real(file);
                (*(*file).pMethods).$method.expect("unix files have it")(file $(, $argument)*)
            }
        })*
    };
}

pass_on! {
    close = xClose() -> c_int;
    read = xRead(to: *mut c_void, length: c_int, offset: i64) -> c_int;
    file_size = xFileSize(size: *mut i64) -> c_int;
    lock = xLock(level: c_int) -> c_int;
    unlock = xUnlock(level: c_int) -> c_int;
    check_reserved_lock = xCheckReservedLock(is_held: *mut c_int) -> c_int;
    file_control = xFileControl(operation: c_int, argument: *mut c_void) -> c_int;
    sector_size = xSectorSize() -> c_int;
    device_characteristics = xDeviceCharacteristics() -> c_int;
    shm_map = xShmMap(page: c_int, size: c_int, extend: c_int, to: *mut *mut c_void) -> c_int;
    shm_lock = xShmLock(offset: c_int, count: c_int, flags: c_int) -> c_int;
    shm_barrier = xShmBarrier();
    shm_unmap = xShmUnmap(delete: c_int) -> c_int;
    fetch = xFetch(offset: i64, length: c_int, to: *mut *mut c_void) -> c_int;
    unfetch = xUnfetch(offset: i64, page: *mut c_void) -> c_int;
}

static METHODS: ffi::sqlite3_io_methods = ffi::sqlite3_io_methods {
    iVersion: 3,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(file_size),
    xLock: Some(lock),
    xUnlock: Some(unlock),
    xCheckReservedLock: Some(check_reserved_lock),
    xFileControl: Some(file_control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(device_characteristics),
    xShmMap: Some(shm_map),
    xShmLock: Some(shm_lock),
    xShmBarrier: Some(shm_barrier),
    xShmUnmap: Some(shm_unmap),
    xFetch: Some(fetch),
    xUnfetch: Some(unfetch),
};
