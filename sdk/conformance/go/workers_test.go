package conformance

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
)

func onWhichQueue(ctx context.Context) (string, error) { return activity.GetInfo(ctx).TaskQueue, nil }

// inSession runs two activities in one session, which puts both on one worker's own queue.
func inSession(ctx workflow.Context) (bool, error) {
	session, err := workflow.CreateSession(soon(ctx), &workflow.SessionOptions{
		CreationTimeout: 20 * time.Second, ExecutionTimeout: 30 * time.Second, HeartbeatTimeout: 10 * time.Second,
	})
	if err != nil {
		return false, err
	}
	defer workflow.CompleteSession(session)
	var one, two string
	if err := workflow.ExecuteActivity(session, onWhichQueue).Get(session, &one); err != nil {
		return false, err
	}
	if err := workflow.ExecuteActivity(session, onWhichQueue).Get(session, &two); err != nil {
		return false, err
	}
	return one == two && one != workflow.GetInfo(ctx).TaskQueueName, nil
}

func step(_ context.Context, n int) (int, error) { return n, nil }

func steps(ctx workflow.Context, n int) (int, error) {
	done := 0
	if err := workflow.SetQueryHandler(ctx, "done", func() (int, error) { return done, nil }); err != nil {
		return 0, err
	}
	channel := workflow.GetSignalChannel(ctx, "next")
	for done < n {
		channel.Receive(ctx, nil)
		if err := workflow.ExecuteActivity(soon(ctx), step, done).Get(ctx, nil); err != nil {
			return 0, err
		}
		done++
	}
	return done, nil
}

func workerFlows(r registry) {
	r.RegisterWorkflow(inSession)
	r.RegisterWorkflow(steps)
	r.RegisterActivity(onWhichQueue)
	r.RegisterActivity(step)
}

func TestSessions(t *testing.T) {
	s := newStage(t, workerFlows)
	s.worker(worker.Options{EnableSessionWorker: true})
	require.True(s, result[bool](s, s.start(inSession, nil)))
}

func TestAWorkflowGoesOnWithEveryNewWorker(t *testing.T) {
	s := newStage(t, workerFlows)
	run := s.start(steps, nil, 3)
	// The former worker shut down, so its sticky queue delays no task: it would for longer than is waited here.
	for i := 1; i <= 3; i++ {
		w := s.worker(worker.Options{StickyScheduleToStartTimeout: timeout * 2})
		require.NoError(s, s.client.SignalWorkflow(s.context(), run.GetID(), "", "next", nil))
		s.eventually("the step is done", func() bool {
			value, err := s.client.QueryWorkflow(s.context(), run.GetID(), "", "done")
			var done int
			return err == nil && value.Get(&done) == nil && done >= i
		})
		w.Stop()
	}
	s.worker(worker.Options{})
	require.Equal(s, 3, result[int](s, run))
	require.Zero(s, count(s.history(run.GetID(), run.GetRunID()), enumspb.EVENT_TYPE_WORKFLOW_TASK_FAILED))
}

func TestManyWorkflowsOnTwoWorkers(t *testing.T) {
	s := newStage(t, workerFlows)
	s.worker(worker.Options{})
	s.worker(worker.Options{})
	var runs []client.WorkflowRun
	for i := 0; i < 20; i++ {
		runs = append(runs, s.start(steps, named(s.id(string(rune('a'+i)))), 2))
	}
	for i := 0; i < 2; i++ {
		for _, run := range runs {
			require.NoError(s, s.client.SignalWorkflow(s.context(), run.GetID(), "", "next", nil))
		}
	}
	for _, run := range runs {
		require.Equal(s, 2, result[int](s, run))
	}
}

func TestWhatTheServerSaysAboutItself(t *testing.T) {
	s := newStage(t, workerFlows)
	_, err := s.client.CheckHealth(s.context(), &client.CheckHealthRequest{})
	require.NoError(s, err)
	s.worker(worker.Options{Identity: "poller of this test"})
	s.eventually("the poller is shown", func() bool {
		described, err := s.client.DescribeTaskQueue(s.context(), s.queue, enumspb.TASK_QUEUE_TYPE_WORKFLOW)
		if err != nil {
			return false
		}
		for _, poller := range described.GetPollers() {
			if poller.GetIdentity() == "poller of this test" {
				return true
			}
		}
		return false
	})
}
