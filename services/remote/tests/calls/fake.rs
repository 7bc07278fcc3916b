//! A history and a matching that record their calls and give prepared answers.

use std::collections::VecDeque;
use std::fmt::{Debug, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use calls::{CallContext, Receipt, ServiceError, ServiceResult};
use runtime::Runtime;

/// What befalls a call.
#[derive(Clone, Debug)]
pub enum Step {
    Refuse(ServiceError),
    /// It is never answered.
    Hang,
    /// Answered after a while.
    After(Duration),
}

/// How often something was, and how it ended.
#[derive(Default)]
pub struct Count(AtomicUsize);

impl Count {
    pub fn up(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
    pub fn get(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

#[derive(Default)]
struct Notes {
    asked: Vec<String>,
    time_left: Vec<Option<Duration>>,
    next: VecDeque<Step>,
}

pub struct Fake {
    pub runtime: Runtime,
    notes: Mutex<Notes>,
    /// Calls that were dropped without an answer.
    pub dropped: Arc<Count>,
    pub written: Arc<Count>,
    pub taken_back: Arc<Count>,
    /// Whether polls are given a task.
    pub has_tasks: bool,
}

impl Fake {
    pub fn new() -> Arc<Self> {
        Self::with_tasks(true)
    }

    pub fn with_tasks(has_tasks: bool) -> Arc<Self> {
        Arc::new(Self {
            runtime: Runtime::system(),
            notes: Mutex::default(),
            dropped: Arc::default(),
            written: Arc::default(),
            taken_back: Arc::default(),
            has_tasks,
        })
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap()
    }

    /// What was asked so far: method and arguments.
    pub fn asked(&self) -> Vec<String> {
        self.notes().asked.clone()
    }

    /// How many calls there were so far.
    pub fn calls(&self) -> usize {
        self.notes().asked.len()
    }

    /// How much time each call had left when it arrived.
    pub fn time_left(&self) -> Vec<Option<Duration>> {
        self.notes().time_left.clone()
    }

    /// These befall the next calls.
    pub fn arrange(&self, steps: impl IntoIterator<Item = Step>) {
        self.notes().next.extend(steps);
    }

    /// Nothing befalls further calls.
    pub fn answer_all(&self) {
        self.notes().next.clear();
    }

    pub async fn answer<T>(
        &self,
        method: &str,
        ctx: &CallContext,
        request: &(dyn Debug + Sync),
        answer: T,
    ) -> ServiceResult<T> {
        let step = {
            let mut notes = self.notes();
            let arguments = (&ctx.namespace, &ctx.principal, &ctx.request_id, request);
            notes.asked.push(described(method, &arguments));
            notes.time_left.push(ctx.deadline.map(|at| at.since(self.runtime.now())));
            notes.next.pop_front()
        };
        let mut unanswered = Unanswered(Some(Arc::clone(&self.dropped)));
        match step {
            Some(Step::Hang) => std::future::pending().await,
            Some(Step::After(time)) => self.runtime.sleep(time).await,
            Some(Step::Refuse(_)) | None => {}
        }
        unanswered.0 = None;
        match step {
            Some(Step::Refuse(error)) => Err(error),
            _ => Ok(answer),
        }
    }

    /// Leaves a receipt as matching does.
    pub fn hand_out(&self, ctx: &CallContext) {
        let (written, taken_back) = (Arc::clone(&self.written), Arc::clone(&self.taken_back));
        ctx.attach_receipt(Box::new(Noted { written, taken_back: Some(taken_back) }));
    }
}

/// Method and arguments, as far as is readable.
fn described(method: &str, arguments: &dyn Debug) -> String {
    struct Beginning(String);
    impl Write for Beginning {
        fn write_str(&mut self, text: &str) -> std::fmt::Result {
            self.0.push_str(text);
            if self.0.len() < 100_000 { Ok(()) } else { Err(std::fmt::Error) }
        }
    }
    let mut text = Beginning(String::new());
    // An error means that it is long.
    let _ = write!(text, "{method} {arguments:?}");
    text.0
}

struct Unanswered(Option<Arc<Count>>);

impl Drop for Unanswered {
    fn drop(&mut self) {
        if let Some(dropped) = self.0.take() {
            dropped.up();
        }
    }
}

/// Counts how it ends.
pub struct Noted {
    written: Arc<Count>,
    taken_back: Option<Arc<Count>>,
}

impl Receipt for Noted {
    fn written(mut self: Box<Self>) {
        self.taken_back = None;
        self.written.up();
    }
}

impl Drop for Noted {
    fn drop(&mut self) {
        if let Some(taken_back) = self.taken_back.take() {
            taken_back.up();
        }
    }
}
