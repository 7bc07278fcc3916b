package conformance

import (
	"math/rand"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
)

func named(id string) func(*client.StartWorkflowOptions) {
	return func(options *client.StartWorkflowOptions) { options.ID = id }
}

func taskTimeout(after time.Duration) func(*client.StartWorkflowOptions) {
	return func(options *client.StartWorkflowOptions) { options.WorkflowTaskTimeout = after }
}

// nap makes a workflow task end here, so that what follows is replayed when there is no cache.
func nap(ctx workflow.Context) { _ = workflow.Sleep(ctx, 10*time.Millisecond) }

func sideEffects(ctx workflow.Context) (bool, error) {
	var first, changing int
	random := workflow.SideEffect(ctx, func(workflow.Context) any { return rand.Int() })
	if err := random.Get(&first); err != nil {
		return false, err
	}
	for i := 0; i < 4; i++ {
		nap(ctx)
		value := workflow.MutableSideEffect(ctx, "setting", func(workflow.Context) any {
			return i / 2
		}, func(a, b any) bool { return a == b })
		if err := value.Get(&changing); err != nil {
			return false, err
		}
		if changing != i/2 {
			return false, nil
		}
	}
	var again int
	err := random.Get(&again)
	return again == first, err
}

func selects(ctx workflow.Context) ([]string, error) {
	var order []string
	selector := workflow.NewSelector(ctx)
	timers, cancel := workflow.WithCancel(ctx)
	selector.AddFuture(workflow.NewTimer(timers, 100*time.Millisecond), func(workflow.Future) { order = append(order, "timer") })
	selector.AddFuture(workflow.NewTimer(timers, time.Hour), func(f workflow.Future) {
		if temporal.IsCanceledError(f.Get(ctx, nil)) {
			order = append(order, "cancelled timer")
		}
	})
	selector.AddReceive(workflow.GetSignalChannel(ctx, "go"), func(c workflow.ReceiveChannel, _ bool) {
		var text string
		c.Receive(ctx, &text)
		order = append(order, text)
	})
	selector.Select(ctx)
	selector.Select(ctx)
	cancel()
	selector.Select(ctx)
	return order, nil
}

func awaits(ctx workflow.Context) (bool, error) {
	ready := false
	workflow.Go(ctx, func(ctx workflow.Context) {
		nap(ctx)
		ready = true
	})
	if err := workflow.Await(ctx, func() bool { return ready }); err != nil {
		return false, err
	}
	timedOut, err := workflow.AwaitWithTimeout(ctx, 50*time.Millisecond, func() bool { return false })
	return !timedOut, err
}

func cleansUp(ctx workflow.Context) error {
	err := workflow.Sleep(ctx, time.Hour)
	if temporal.IsCanceledError(err) {
		disconnected, _ := workflow.NewDisconnectedContext(ctx)
		if err := workflow.ExecuteActivity(soon(disconnected), echo, "cleanup").Get(disconnected, nil); err != nil {
			return err
		}
	}
	return err
}

func codeFlows(r registry) {
	for _, w := range []any{sideEffects, selects, awaits, cleansUp} {
		r.RegisterWorkflow(w)
	}
	r.RegisterActivity(echo)
}

func TestSideEffectsAreRecorded(t *testing.T) {
	s := newStage(t, codeFlows)
	s.worker(worker.Options{})
	run := s.start(sideEffects, nil)
	require.True(s, result[bool](s, run))
	// One side effect, and a mutable one that changed once after its first value.
	require.Equal(s, 3, count(s.history(run.GetID(), run.GetRunID()), enumspb.EVENT_TYPE_MARKER_RECORDED))
}

func TestSelectorsSeeTimersSignalsAndCancellation(t *testing.T) {
	s := newStage(t, codeFlows)
	s.worker(worker.Options{})
	run := s.start(selects, nil)
	s.eventually("the workflow has seen its timer fire", func() bool {
		return count(s.history(run.GetID(), run.GetRunID()), enumspb.EVENT_TYPE_WORKFLOW_TASK_COMPLETED) == 2
	})
	require.NoError(s, s.client.SignalWorkflow(s.context(), run.GetID(), "", "go", "signal"))
	require.Equal(s, []string{"timer", "signal", "cancelled timer"}, result[[]string](s, run))
}

func TestAwait(t *testing.T) {
	s := newStage(t, codeFlows)
	s.worker(worker.Options{})
	require.True(s, result[bool](s, s.start(awaits, nil)))
}

func TestACancelledWorkflowCleansUpInADisconnectedContext(t *testing.T) {
	s := newStage(t, codeFlows)
	s.worker(worker.Options{})
	run := s.start(cleansUp, nil)
	s.eventually("the timer runs", func() bool {
		return count(s.history(run.GetID(), run.GetRunID()), enumspb.EVENT_TYPE_TIMER_STARTED) == 1
	})
	require.NoError(s, s.client.CancelWorkflow(s.context(), run.GetID(), ""))
	err := run.Get(s.context(), nil)
	var canceled *temporal.CanceledError
	require.ErrorAs(s, err, &canceled)
	history := s.history(run.GetID(), run.GetRunID())
	require.Equal(s, 1, count(history, enumspb.EVENT_TYPE_ACTIVITY_TASK_COMPLETED))
	require.Equal(s, enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED, history[len(history)-1].GetEventType())
}

func before(ctx workflow.Context) (string, error) {
	workflow.GetSignalChannel(ctx, "go").Receive(ctx, nil)
	return "old", nil
}

func after(ctx workflow.Context) (string, error) {
	version := workflow.GetVersion(ctx, "change", workflow.DefaultVersion, 2)
	if version == workflow.DefaultVersion {
		return before(ctx)
	}
	nap(ctx)
	workflow.GetSignalChannel(ctx, "go").Receive(ctx, nil)
	return "new", nil
}

func TestGetVersionKeepsOldRunsOldAndNewRunsNew(t *testing.T) {
	as := workflow.RegisterOptions{Name: "versioned"}
	newCode := func(r registry) { r.RegisterWorkflowWithOptions(after, as) }
	s := newStage(t, newCode)
	w := s.worker(worker.Options{}, func(r registry) { r.RegisterWorkflowWithOptions(before, as) })
	old := s.start("versioned", named(s.id("old")))
	s.eventually("the old code ran", func() bool {
		return count(s.history(old.GetID(), old.GetRunID()), enumspb.EVENT_TYPE_WORKFLOW_TASK_COMPLETED) == 1
	})
	w.Stop()
	s.worker(worker.Options{})
	young := s.start("versioned", named(s.id("new")))
	for _, run := range []client.WorkflowRun{old, young} {
		require.NoError(s, s.client.SignalWorkflow(s.context(), run.GetID(), "", "go", nil))
	}
	require.Equal(s, "old", result[string](s, old))
	require.Equal(s, "new", result[string](s, young))
	history := s.history(young.GetID(), young.GetRunID())
	require.Equal(s, 1, count(history, enumspb.EVENT_TYPE_MARKER_RECORDED))
	require.Equal(s, 1, count(history, enumspb.EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES))
}

var broken atomic.Bool

func panics(ctx workflow.Context) (string, error) {
	nap(ctx)
	if broken.Load() && !workflow.IsReplaying(ctx) {
		panic("a bug that a deployment fixes")
	}
	return "fixed", nil
}

func TestAPanicFailsTheTaskAndTheWorkflowWaits(t *testing.T) {
	s := newStage(t, func(r registry) { r.RegisterWorkflow(panics) })
	broken.Store(true)
	s.worker(worker.Options{WorkflowPanicPolicy: worker.BlockWorkflow})
	// The first failed attempt is reported, later ones time out. If the first one did, too, none would be reported.
	run := s.start(panics, taskTimeout(10*time.Second))
	s.eventually("a task failed", func() bool {
		return count(s.history(run.GetID(), run.GetRunID()), enumspb.EVENT_TYPE_WORKFLOW_TASK_FAILED) >= 1
	})
	broken.Store(false)
	require.Equal(s, "fixed", result[string](s, run))
}

func TestAPanicMayFailTheWorkflow(t *testing.T) {
	s := newStage(t, func(r registry) {
		r.RegisterWorkflowWithOptions(func(workflow.Context) error { panic("on purpose") }, workflow.RegisterOptions{Name: "fatal"})
	})
	s.replays = false // the replayer has no such policy and reports the panic
	s.worker(worker.Options{WorkflowPanicPolicy: worker.FailWorkflow})
	require.Error(s, s.start("fatal", nil).Get(s.context(), nil))
}
