package conformance

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
)

func quick(workflow.Context) (string, error) { return "quick", nil }

func forever(ctx workflow.Context) error {
	return workflow.Await(ctx, func() bool { return false })
}

func counts(ctx workflow.Context) (int, error) {
	last := 0
	if workflow.HasLastCompletionResult(ctx) {
		if err := workflow.GetLastCompletionResult(ctx, &last); err != nil {
			return 0, err
		}
	}
	return last + 1, nil
}

func failsTwice(ctx workflow.Context) (int32, error) {
	attempt := workflow.GetInfo(ctx).Attempt
	if attempt < 3 {
		return 0, temporal.NewApplicationError("again", "Again")
	}
	return attempt, nil
}

func chains(ctx workflow.Context, left int) (string, error) {
	nap(ctx)
	if left > 0 {
		return "", workflow.NewContinueAsNewError(ctx, chains, left-1)
	}
	info := workflow.GetInfo(ctx)
	return info.FirstRunID, nil
}

// child waits, or ends at once, as its input says.
func child(ctx workflow.Context, wait bool) (string, error) {
	if wait {
		return "", workflow.Sleep(ctx, time.Hour)
	}
	return workflow.GetInfo(ctx).ParentWorkflowExecution.ID, nil
}

func parent(ctx workflow.Context, policy enumspb.ParentClosePolicy, wait, cancel bool) (string, error) {
	ctx, stop := workflow.WithCancel(workflow.WithChildOptions(ctx, workflow.ChildWorkflowOptions{
		WorkflowID:            workflow.GetInfo(ctx).WorkflowExecution.ID + "/child",
		ParentClosePolicy:     policy,
		WaitForCancellation:   true,
		TypedSearchAttributes: temporal.NewSearchAttributes(colour.ValueSet("blue")),
	}))
	future := workflow.ExecuteChildWorkflow(ctx, child, wait)
	if err := future.GetChildWorkflowExecution().Get(ctx, nil); err != nil {
		return "", err
	}
	if wait && !cancel {
		return "left", nil
	}
	if cancel {
		nap(ctx)
		stop()
	}
	var text string
	err := future.Get(ctx, &text)
	if cancel && temporal.IsCanceledError(err) {
		return "child cancelled", nil
	}
	return text, err
}

func lifeFlows(r registry) {
	for _, w := range []any{quick, forever, counts, failsTwice, chains, child, parent} {
		r.RegisterWorkflow(w)
	}
}

func TestConflictAndReusePolicies(t *testing.T) {
	s := newStage(t, lifeFlows)
	s.worker(worker.Options{})
	first := s.start(forever, nil)
	again := func(change func(*client.StartWorkflowOptions)) (client.WorkflowRun, error) {
		options := s.options()
		options.WorkflowExecutionErrorWhenAlreadyStarted = true
		change(&options)
		run, err := s.client.ExecuteWorkflow(s.context(), options, forever)
		if err == nil {
			s.note(run.GetID(), run.GetRunID())
		}
		return run, err
	}
	conflict := func(policy enumspb.WorkflowIdConflictPolicy) func(*client.StartWorkflowOptions) {
		return func(options *client.StartWorkflowOptions) { options.WorkflowIDConflictPolicy = policy }
	}
	_, err := again(conflict(enumspb.WORKFLOW_ID_CONFLICT_POLICY_FAIL))
	var started *serviceerror.WorkflowExecutionAlreadyStarted
	require.ErrorAs(s, err, &started)
	require.Equal(s, first.GetRunID(), started.RunId)
	same, err := again(conflict(enumspb.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING))
	require.NoError(s, err)
	require.Equal(s, first.GetRunID(), same.GetRunID())
	other, err := again(conflict(enumspb.WORKFLOW_ID_CONFLICT_POLICY_TERMINATE_EXISTING))
	require.NoError(s, err)
	require.NotEqual(s, first.GetRunID(), other.GetRunID())
	require.NoError(s, s.client.TerminateWorkflow(s.context(), other.GetID(), other.GetRunID(), "done"))
	_, err = again(func(options *client.StartWorkflowOptions) {
		options.WorkflowIDReusePolicy = enumspb.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE
	})
	require.ErrorAs(s, err, &started)
}

func TestEagerStart(t *testing.T) {
	s := newStage(t, lifeFlows)
	s.worker(worker.Options{})
	run := s.start(quick, func(options *client.StartWorkflowOptions) { options.EnableEagerStart = true })
	require.Equal(s, "quick", result[string](s, run))
}

func TestCronHandsOnItsLastResult(t *testing.T) {
	s := newStage(t, lifeFlows)
	s.worker(worker.Options{})
	run := s.start(counts, func(options *client.StartWorkflowOptions) { options.CronSchedule = "@every 1s" })
	first := s.started[0][1]
	s.eventually("two runs have closed", func() bool { return len(s.chain(run, first)) >= 3 })
	runs := s.chain(run, first)
	require.NoError(s, s.client.TerminateWorkflow(s.context(), run.GetID(), "", "enough"))
	second := runs[1][0].GetWorkflowExecutionStartedEventAttributes()
	require.Equal(s, enumspb.CONTINUE_AS_NEW_INITIATOR_CRON_SCHEDULE, second.GetInitiator())
	require.Equal(s, "1", string(second.GetLastCompletionResult().GetPayloads()[0].GetData()))
}

func TestWorkflowsRetry(t *testing.T) {
	s := newStage(t, lifeFlows)
	s.worker(worker.Options{})
	run := s.start(failsTwice, func(options *client.StartWorkflowOptions) {
		options.RetryPolicy = &temporal.RetryPolicy{InitialInterval: 100 * time.Millisecond, BackoffCoefficient: 1}
	})
	require.EqualValues(s, 3, result[int](s, run))
	require.Len(s, s.chain(run, s.started[0][1]), 3)
}

func TestContinueAsNewKeepsTheFirstRun(t *testing.T) {
	s := newStage(t, lifeFlows)
	s.worker(worker.Options{})
	run := s.start(chains, nil, 3)
	require.Equal(s, s.started[0][1], result[string](s, run))
}

func TestStartDelay(t *testing.T) {
	s := newStage(t, lifeFlows)
	s.worker(worker.Options{})
	began := time.Now()
	run := s.start(quick, func(options *client.StartWorkflowOptions) { options.StartDelay = 700 * time.Millisecond })
	require.Equal(s, "quick", result[string](s, run))
	require.GreaterOrEqual(s, time.Since(began), 700*time.Millisecond)
}

func TestTimeoutsAndTermination(t *testing.T) {
	s := newStage(t, lifeFlows)
	s.worker(worker.Options{})
	late := s.start(forever, func(options *client.StartWorkflowOptions) {
		options.ID = s.id("late")
		options.WorkflowRunTimeout = 700 * time.Millisecond
	})
	var timeout *temporal.TimeoutError
	require.ErrorAs(s, late.Get(s.context(), nil), &timeout)
	ended := s.start(forever, named(s.id("ended")))
	require.NoError(s, s.client.TerminateWorkflow(s.context(), ended.GetID(), "", "a reason", "a detail"))
	var terminated *temporal.TerminatedError
	require.ErrorAs(s, ended.Get(s.context(), nil), &terminated)
}

func TestChildrenAndTheirParentsEnd(t *testing.T) {
	s := newStage(t, lifeFlows)
	s.worker(worker.Options{})
	policies := map[enumspb.ParentClosePolicy]enumspb.WorkflowExecutionStatus{
		enumspb.PARENT_CLOSE_POLICY_TERMINATE:      enumspb.WORKFLOW_EXECUTION_STATUS_TERMINATED,
		enumspb.PARENT_CLOSE_POLICY_REQUEST_CANCEL: enumspb.WORKFLOW_EXECUTION_STATUS_CANCELED,
		enumspb.PARENT_CLOSE_POLICY_ABANDON:        enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING,
	}
	for policy, status := range policies {
		run := s.start(parent, named(s.id(policy.String())), policy, true, false)
		require.Equal(s, "left", result[string](s, run))
		s.eventually("the child is "+status.String(), func() bool {
			described, err := s.client.DescribeWorkflowExecution(s.context(), run.GetID()+"/child", "")
			return err == nil && described.GetWorkflowExecutionInfo().GetStatus() == status
		})
	}
}

func TestChildResultsAndCancellation(t *testing.T) {
	s := newStage(t, lifeFlows)
	s.worker(worker.Options{})
	run := s.start(parent, named(s.id("result")), enumspb.PARENT_CLOSE_POLICY_TERMINATE, false, false)
	require.Equal(s, run.GetID(), result[string](s, run))
	run = s.start(parent, named(s.id("cancel")), enumspb.PARENT_CLOSE_POLICY_TERMINATE, true, true)
	require.Equal(s, "child cancelled", result[string](s, run))
	history := s.history(run.GetID(), run.GetRunID())
	require.Equal(s, 1, count(history, enumspb.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_CANCELED))
}

func TestLongPollForTheCloseEventOnly(t *testing.T) {
	s := newStage(t, lifeFlows)
	run := s.start(quick, nil)
	closed := make(chan []*historypb.HistoryEvent, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 40*time.Second)
		defer cancel()
		filter := enumspb.HISTORY_EVENT_FILTER_TYPE_CLOSE_EVENT
		var events []*historypb.HistoryEvent
		for pages := s.client.GetWorkflowHistory(ctx, run.GetID(), run.GetRunID(), true, filter); pages.HasNext(); {
			event, err := pages.Next()
			if err != nil {
				break
			}
			events = append(events, event)
		}
		closed <- events
	}()
	time.Sleep(300 * time.Millisecond)
	s.worker(worker.Options{})
	events := <-closed
	require.Len(s, events, 1)
	require.Equal(s, enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED, events[0].GetEventType())
}
