package conformance

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	sdklog "go.temporal.io/sdk/log"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
)

// timeout is for how long something may take on a slow machine, where moreover a worker that left took a workflow task
// along, which comes back after ten seconds.
const timeout = 45 * time.Second

var shared client.Client

func TestMain(m *testing.M) {
	address := os.Getenv("OUTLAST_ADDRESS")
	if address == "" {
		fmt.Fprintln(os.Stderr, "OUTLAST_ADDRESS is not set: start the suite with sdk/conformance/run")
		os.Exit(2)
	}
	if os.Getenv("CONFORMANCE_CACHE") == "off" {
		worker.SetStickyWorkflowCacheSize(0)
	}
	var err error
	shared, err = client.Dial(client.Options{HostPort: address, Logger: quiet{}})
	if err != nil {
		fmt.Fprintln(os.Stderr, "connecting:", err)
		os.Exit(2)
	}
	code := m.Run()
	shared.Close()
	os.Exit(code)
}

// quiet drops what the SDK logs: tests make workers fail on purpose.
type quiet struct{}

func (quiet) Debug(string, ...any)        {}
func (quiet) Info(string, ...any)         {}
func (quiet) Warn(string, ...any)         {}
func (quiet) Error(string, ...any)        {}
func (q quiet) With(...any) sdklog.Logger { return q }

// registry is what workers and replayers have in common, as far as the suite needs it.
type registry interface {
	RegisterWorkflow(w any)
	RegisterWorkflowWithOptions(w any, options workflow.RegisterOptions)
	RegisterActivity(a any)
}

// stage is a test's own corner of the server: a task queue, and the workflows that were started on it.
type stage struct {
	*testing.T
	client   client.Client
	queue    string
	register func(registry)
	replays  bool

	mu      sync.Mutex
	started [][2]string
}

// newStage makes a stage. When the test ends, every history it led to is checked, and replayed with what `register`
// registers.
func newStage(t *testing.T, register func(registry)) *stage {
	t.Parallel()
	name := strings.ReplaceAll(t.Name(), "/", "-")
	s := &stage{T: t, client: shared, queue: name + "-" + uuid.NewString()[:8], register: register, replays: true}
	t.Cleanup(s.check)
	return s
}

func (s *stage) context() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 2*timeout)
	s.Cleanup(cancel)
	return ctx
}

// worker starts a worker with the stage's registrations, or with others. It stops with the test, or before.
func (s *stage) worker(options worker.Options, register ...func(registry)) worker.Worker {
	w := worker.New(s.client, s.queue, options)
	if len(register) == 0 {
		s.register(w)
	}
	for _, each := range register {
		each(w)
	}
	require.NoError(s, w.Start())
	var once sync.Once
	s.Cleanup(func() { once.Do(w.Stop) })
	return stopOnce{w, &once}
}

type stopOnce struct {
	worker.Worker
	once *sync.Once
}

func (w stopOnce) Stop() { w.once.Do(w.Worker.Stop) }

func (s *stage) id(suffix string) string { return s.queue + "-" + suffix }

func (s *stage) options() client.StartWorkflowOptions {
	return client.StartWorkflowOptions{
		ID: s.id("workflow"), TaskQueue: s.queue, WorkflowExecutionTimeout: 2 * timeout,
	}
}

// start starts a workflow with the stage's options, changed by `change`.
func (s *stage) start(workflow any, change func(*client.StartWorkflowOptions), args ...any) client.WorkflowRun {
	options := s.options()
	if change != nil {
		change(&options)
	}
	run, err := s.client.ExecuteWorkflow(s.context(), options, workflow, args...)
	require.NoError(s, err)
	s.note(run.GetID(), run.GetRunID())
	return run
}

func (s *stage) note(workflowID, runID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.started = append(s.started, [2]string{workflowID, runID})
}

// result waits for a workflow and decodes what it returned.
func result[T any](s *stage, run client.WorkflowRun) T {
	var value T
	require.NoError(s, run.Get(s.context(), &value))
	return value
}

func (s *stage) history(workflowID, runID string) []*historypb.HistoryEvent {
	var events []*historypb.HistoryEvent
	all := enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	pages := s.client.GetWorkflowHistory(ctx, workflowID, runID, false, all)
	for pages.HasNext() {
		event, err := pages.Next()
		require.NoError(s, err)
		events = append(events, event)
	}
	return events
}

// chain is the histories of all runs from the first on.
func (s *stage) chain(run client.WorkflowRun, firstRunID string) [][]*historypb.HistoryEvent {
	var runs [][]*historypb.HistoryEvent
	for next := firstRunID; next != ""; {
		events := s.history(run.GetID(), next)
		runs = append(runs, events)
		next = successor(events[len(events)-1])
	}
	return runs
}

func successor(event *historypb.HistoryEvent) string {
	switch event.GetEventType() {
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW:
		return event.GetWorkflowExecutionContinuedAsNewEventAttributes().GetNewExecutionRunId()
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED:
		return event.GetWorkflowExecutionCompletedEventAttributes().GetNewExecutionRunId()
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED:
		return event.GetWorkflowExecutionFailedEventAttributes().GetNewExecutionRunId()
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_TIMED_OUT:
		return event.GetWorkflowExecutionTimedOutEventAttributes().GetNewExecutionRunId()
	}
	return ""
}

// eventually asks until the answer is yes.
func (s *stage) eventually(what string, probe func() bool) {
	require.Eventually(s, probe, timeout, 50*time.Millisecond, what)
}

// check ends what is open, then holds every history against the laws and the replayer.
func (s *stage) check() {
	if s.Failed() {
		return
	}
	replayer := worker.NewWorkflowReplayer()
	s.register(replayed{replayer})
	seen := map[[2]string]bool{}
	s.mu.Lock()
	waiting := s.started
	s.mu.Unlock()
	for len(waiting) > 0 {
		key := waiting[0]
		waiting = waiting[1:]
		if seen[key] {
			continue
		}
		seen[key] = true
		events := s.history(key[0], key[1])
		checkLaws(s.T, events)
		last := events[len(events)-1]
		if next := successor(last); next != "" {
			waiting = append(waiting, [2]string{key[0], next})
		}
		completed := 0
		for _, event := range events {
			if child := event.GetChildWorkflowExecutionStartedEventAttributes().GetWorkflowExecution(); child != nil {
				waiting = append(waiting, [2]string{child.GetWorkflowId(), child.GetRunId()})
			}
			if event.GetEventType() == enumspb.EVENT_TYPE_WORKFLOW_TASK_COMPLETED {
				completed++
			}
		}
		if !closing[last.GetEventType()] {
			err := s.client.TerminateWorkflow(context.Background(), key[0], key[1], "end of test")
			var gone *serviceerror.NotFound
			require.True(s, err == nil || errors.As(err, &gone), "%v", err)
		}
		if s.replays && completed > 0 {
			// Workflows that name their children after themselves must find their own name again.
			original := worker.ReplayWorkflowHistoryOptions{OriginalExecution: workflow.Execution{ID: key[0], RunID: key[1]}}
			err := replayer.ReplayWorkflowHistoryWithOptions(quiet{}, &historypb.History{Events: events}, original)
			require.NoError(s, err, "replay of %v", names(events))
		}
	}
}

// replayed is a replayer in the place of a worker: activities are nothing to it.
type replayed struct{ worker.WorkflowReplayer }

func (replayed) RegisterActivity(any) {}
