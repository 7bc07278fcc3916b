package conformance

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
)

var tokens sync.Map

func echo(_ context.Context, text string) (string, error) { return "echo " + text, nil }

// failUntil fails before its nth attempt, and hands the attempt on in heartbeat details.
func failUntil(ctx context.Context, enough int) (int, error) {
	var last int
	if activity.HasHeartbeatDetails(ctx) {
		if err := activity.GetHeartbeatDetails(ctx, &last); err != nil {
			return 0, err
		}
	}
	attempt := int(activity.GetInfo(ctx).Attempt)
	if attempt < enough {
		activity.RecordHeartbeat(ctx, attempt)
		return 0, temporal.NewApplicationErrorWithOptions("not yet", "NotYet", temporal.ApplicationErrorOptions{
			NextRetryDelay: 50 * time.Millisecond,
		})
	}
	return last, nil
}

func hopeless(context.Context) error {
	return temporal.NewNonRetryableApplicationError("hopeless", "Hopeless", nil, "a detail")
}

func pending(ctx context.Context, key string) (string, error) {
	tokens.Store(key, activity.GetInfo(ctx).TaskToken)
	return "", activity.ErrResultPending
}

func untilCancelled(ctx context.Context) error {
	for {
		activity.RecordHeartbeat(ctx)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// slowRuns counts, by workflow, how often slowly was begun.
var slowRuns sync.Map

func slowly(ctx context.Context, wait time.Duration) (string, error) {
	runs, _ := slowRuns.LoadOrStore(activity.GetInfo(ctx).WorkflowExecution.ID, new(atomic.Int32))
	runs.(*atomic.Int32).Add(1)
	time.Sleep(wait)
	return "slow but done", nil
}

func soon(ctx workflow.Context) workflow.Context {
	return workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		StartToCloseTimeout: 20 * time.Second,
		HeartbeatTimeout:    10 * time.Second,
		WaitForCancellation: true,
	})
}

func echoes(ctx workflow.Context, n int) (int, error) {
	var futures []workflow.Future
	for i := 0; i < n; i++ {
		futures = append(futures, workflow.ExecuteActivity(soon(ctx), echo, "x"))
	}
	for _, future := range futures {
		if err := future.Get(ctx, nil); err != nil {
			return 0, err
		}
	}
	return n, nil
}

func retries(ctx workflow.Context) (int, error) {
	var last int
	err := workflow.ExecuteActivity(soon(ctx), failUntil, 3).Get(ctx, &last)
	return last, err
}

func fails(ctx workflow.Context) error {
	return workflow.ExecuteActivity(soon(ctx), hopeless).Get(ctx, nil)
}

func waits(ctx workflow.Context, key string) (string, error) {
	var text string
	err := workflow.ExecuteActivity(soon(ctx), pending, key).Get(ctx, &text)
	return text, err
}

func cancels(ctx workflow.Context) (string, error) {
	inner, cancel := workflow.WithCancel(soon(ctx))
	future := workflow.ExecuteActivity(inner, untilCancelled)
	if err := workflow.Sleep(ctx, 300*time.Millisecond); err != nil {
		return "", err
	}
	cancel()
	err := future.Get(ctx, nil)
	if temporal.IsCanceledError(err) {
		return "cancelled", nil
	}
	return "", err
}

func localSlow(ctx workflow.Context, wait time.Duration) (string, error) {
	ctx = workflow.WithLocalActivityOptions(ctx, workflow.LocalActivityOptions{ScheduleToCloseTimeout: 20 * time.Second})
	var text string
	err := workflow.ExecuteLocalActivity(ctx, slowly, wait).Get(ctx, &text)
	return text, err
}

func localRetries(ctx workflow.Context) (int, error) {
	ctx = workflow.WithLocalActivityOptions(ctx, workflow.LocalActivityOptions{
		ScheduleToCloseTimeout: 20 * time.Second,
		RetryPolicy:            &temporal.RetryPolicy{InitialInterval: 50 * time.Millisecond, BackoffCoefficient: 1},
	})
	var attempts int
	err := workflow.ExecuteLocalActivity(ctx, func(ctx context.Context) (int, error) {
		if attempt := activity.GetInfo(ctx).Attempt; attempt < 3 {
			return 0, errors.New("again")
		} else {
			return int(attempt), nil
		}
	}).Get(ctx, &attempts)
	return attempts, err
}

func timesOut(ctx workflow.Context) error {
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		StartToCloseTimeout: 500 * time.Millisecond,
		RetryPolicy:         &temporal.RetryPolicy{MaximumAttempts: 2, InitialInterval: 50 * time.Millisecond},
	})
	return workflow.ExecuteActivity(ctx, slowly, 5*time.Second).Get(ctx, nil)
}

func activityFlows(r registry) {
	for _, w := range []any{echoes, retries, fails, waits, cancels, localSlow, localRetries, timesOut} {
		r.RegisterWorkflow(w)
	}
	for _, a := range []any{echo, failUntil, hopeless, pending, untilCancelled, slowly} {
		r.RegisterActivity(a)
	}
}

func TestActivitiesThirtyAtOnce(t *testing.T) {
	s := newStage(t, activityFlows)
	s.worker(worker.Options{})
	run := s.start(echoes, nil, 30)
	require.Equal(s, 30, result[int](s, run))
	require.Equal(s, 30, count(s.history(run.GetID(), run.GetRunID()), enumspb.EVENT_TYPE_ACTIVITY_TASK_COMPLETED))
}

func TestActivitiesWithoutEagerExecution(t *testing.T) {
	s := newStage(t, activityFlows)
	s.worker(worker.Options{DisableEagerActivities: true})
	require.Equal(s, 5, result[int](s, s.start(echoes, nil, 5)))
}

func TestHeartbeatDetailsReachTheNextAttempt(t *testing.T) {
	s := newStage(t, activityFlows)
	s.worker(worker.Options{})
	run := s.start(retries, nil)
	require.Equal(s, 2, result[int](s, run))
	for _, event := range s.history(run.GetID(), run.GetRunID()) {
		if started := event.GetActivityTaskStartedEventAttributes(); started != nil {
			require.EqualValues(s, 3, started.GetAttempt())
			require.Equal(s, "not yet", started.GetLastFailure().GetMessage())
		}
	}
}

func TestNonRetryableErrorsKeepTypeAndDetails(t *testing.T) {
	s := newStage(t, activityFlows)
	s.worker(worker.Options{})
	err := s.start(fails, nil).Get(s.context(), nil)
	var failure *temporal.ApplicationError
	require.ErrorAs(s, err, &failure)
	require.Equal(s, "Hopeless", failure.Type())
	var detail string
	require.NoError(s, failure.Details(&detail))
	require.Equal(s, "a detail", detail)
}

func TestTimeoutsOfAttempts(t *testing.T) {
	s := newStage(t, activityFlows)
	s.worker(worker.Options{})
	err := s.start(timesOut, nil).Get(s.context(), nil)
	var timeout *temporal.TimeoutError
	require.ErrorAs(s, err, &timeout)
	require.Equal(s, enumspb.TIMEOUT_TYPE_START_TO_CLOSE, timeout.TimeoutType())
}

func TestCompletionByTokenAndById(t *testing.T) {
	s := newStage(t, activityFlows)
	s.worker(worker.Options{})
	for _, by := range []string{"token", "id"} {
		key := s.id(by)
		run := s.start(waits, named(key), key)
		var token any
		s.eventually("the activity started", func() bool {
			var found bool
			token, found = tokens.Load(key)
			return found
		})
		// The answer to the worker (a result to come) may still be on its way, and is not one.
		if by == "token" {
			require.NoError(s, s.client.CompleteActivity(s.context(), token.([]byte), "from outside", nil))
		} else {
			described, err := s.client.DescribeWorkflowExecution(s.context(), run.GetID(), run.GetRunID())
			require.NoError(s, err)
			id := described.GetPendingActivities()[0].GetActivityId()
			err = s.client.CompleteActivityByID(
				s.context(), "default", run.GetID(), run.GetRunID(), id, "from outside", nil)
			require.NoError(s, err)
		}
		require.Equal(s, "from outside", result[string](s, run))
	}
}

func TestCancellationWaitsForTheActivity(t *testing.T) {
	s := newStage(t, activityFlows)
	s.worker(worker.Options{
		DefaultHeartbeatThrottleInterval: 100 * time.Millisecond,
		MaxHeartbeatThrottleInterval:     100 * time.Millisecond,
	})
	run := s.start(cancels, nil)
	require.Equal(s, "cancelled", result[string](s, run))
	history := s.history(run.GetID(), run.GetRunID())
	require.Equal(s, 1, count(history, enumspb.EVENT_TYPE_ACTIVITY_TASK_CANCEL_REQUESTED))
	require.Equal(s, 1, count(history, enumspb.EVENT_TYPE_ACTIVITY_TASK_CANCELED))
}

func TestALongLocalActivityKeepsItsTask(t *testing.T) {
	s := newStage(t, activityFlows)
	s.worker(worker.Options{})
	// A worker reports after four fifths of the timeout: what is left is for machines that are slow.
	run := s.start(localSlow, taskTimeout(8*time.Second), 8*time.Second)
	require.Equal(s, "slow but done", result[string](s, run))
	history := s.history(run.GetID(), run.GetRunID())
	require.Zero(s, count(history, enumspb.EVENT_TYPE_WORKFLOW_TASK_TIMED_OUT), "%v", names(history))
	require.GreaterOrEqual(s, count(history, enumspb.EVENT_TYPE_WORKFLOW_TASK_COMPLETED), 2)
	// Each task that comes back with a completion goes on where the worker is, so that what runs is not begun again.
	runs, _ := slowRuns.Load(run.GetID())
	require.EqualValues(s, 1, runs.(*atomic.Int32).Load(), "%v", names(history))
}

func TestLocalActivitiesRetry(t *testing.T) {
	s := newStage(t, activityFlows)
	s.worker(worker.Options{})
	require.Equal(s, 3, result[int](s, s.start(localRetries, nil)))
}
