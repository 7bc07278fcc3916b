package conformance

import (
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
)

// collects gathers signals and answers queries; after ten signals it goes on as new.
func collects(ctx workflow.Context, total []string, left int) ([]string, error) {
	if err := workflow.SetQueryHandler(ctx, "so far", func() ([]string, error) { return total, nil }); err != nil {
		return nil, err
	}
	if err := workflow.SetQueryHandler(ctx, "broken", func() (int, error) { return 0, errors.New("always fails") }); err != nil {
		return nil, err
	}
	err := workflow.SetUpdateHandler(ctx, "add", func(_ workflow.Context, text string) (int, error) {
		total = append(total, text)
		return len(total), nil
	})
	if err != nil {
		return nil, err
	}
	channel := workflow.GetSignalChannel(ctx, "add")
	var text string
	for i := 0; i < 10; i++ {
		channel.Receive(ctx, &text)
		if text == "end" {
			return total, nil
		}
		total = append(total, text)
	}
	for channel.ReceiveAsync(&text) {
		if text == "end" {
			return total, nil
		}
		total = append(total, text)
	}
	if left == 0 {
		return total, nil
	}
	return nil, workflow.NewContinueAsNewError(ctx, collects, total, left-1)
}

func sends(ctx workflow.Context, target string, cancel bool) (string, error) {
	var err error
	if cancel {
		err = workflow.RequestCancelExternalWorkflow(ctx, target, "").Get(ctx, nil)
	} else {
		err = workflow.SignalExternalWorkflow(ctx, target, "", "add", "from a workflow").Get(ctx, nil)
	}
	if err != nil {
		return "failed", nil
	}
	return "sent", nil
}

func messageFlows(r registry) {
	r.RegisterWorkflow(collects)
	r.RegisterWorkflow(sends)
}

func TestSignalsAreKeptInOrderAcrossContinueAsNew(t *testing.T) {
	s := newStage(t, messageFlows)
	s.worker(worker.Options{})
	run := s.start(collects, nil, []string{}, 9)
	first := s.started[0][1]
	var wanted []string
	for i := 0; i < 35; i++ {
		if i == 12 {
			// The first ten are one run's; the rest would otherwise reach it in the same task.
			s.eventually("the chain goes on", func() bool { return len(s.chain(run, first)) >= 2 })
		}
		text := strconv.Itoa(i)
		require.NoError(s, s.client.SignalWorkflow(s.context(), run.GetID(), "", "add", text))
		wanted = append(wanted, text)
	}
	require.NoError(s, s.client.SignalWorkflow(s.context(), run.GetID(), "", "add", "end"))
	require.Equal(s, wanted, result[[]string](s, run))
	require.GreaterOrEqual(s, len(s.chain(run, first)), 2)
}

func TestSignalWithStart(t *testing.T) {
	s := newStage(t, messageFlows)
	s.worker(worker.Options{})
	for i := 0; i < 3; i++ {
		run, err := s.client.SignalWithStartWorkflow(
			s.context(), s.id("workflow"), "add", strconv.Itoa(i), s.options(), collects, []string{}, 0)
		require.NoError(s, err)
		s.note(run.GetID(), run.GetRunID())
	}
	require.NoError(s, s.client.SignalWorkflow(s.context(), s.id("workflow"), "", "add", "end"))
	run := s.client.GetWorkflow(s.context(), s.id("workflow"), "")
	require.Equal(s, []string{"0", "1", "2"}, result[[]string](s, run))
}

func TestQueriesOpenAndClosed(t *testing.T) {
	s := newStage(t, messageFlows)
	s.worker(worker.Options{})
	run := s.start(collects, nil, []string{"given"}, 0)
	ask := func(name string) ([]string, error) {
		value, err := s.client.QueryWorkflow(s.context(), run.GetID(), "", name)
		if err != nil {
			return nil, err
		}
		var answer []string
		return answer, value.Get(&answer)
	}
	answer, err := ask("so far")
	require.NoError(s, err)
	require.Equal(s, []string{"given"}, answer)
	var failed *serviceerror.QueryFailed
	_, err = ask("broken")
	require.ErrorAs(s, err, &failed)
	_, err = ask("unknown")
	require.ErrorAs(s, err, &failed)
	require.NoError(s, s.client.SignalWorkflow(s.context(), run.GetID(), "", "add", "end"))
	require.Equal(s, []string{"given"}, result[[]string](s, run))
	answer, err = ask("so far")
	require.NoError(s, err)
	require.Equal(s, []string{"given"}, answer)
	response, err := s.client.QueryWorkflowWithOptions(s.context(), &client.QueryWorkflowWithOptionsRequest{
		WorkflowID: run.GetID(), QueryType: "so far", QueryRejectCondition: enumspb.QUERY_REJECT_CONDITION_NOT_OPEN,
	})
	require.NoError(s, err)
	require.Equal(s, enumspb.WORKFLOW_EXECUTION_STATUS_COMPLETED, response.QueryRejected.GetStatus())
}

// SDK 1.51 refuses a query whose task does not say up to which completed task the history goes.
func TestQueriesOfClosedRunsWhoseLastTaskWasLost(t *testing.T) {
	for _, how := range []string{"failed", "timed out"} {
		t.Run(how, func(t *testing.T) {
			s := newStage(t, messageFlows)
			w := s.worker(worker.Options{})
			run := s.start(collects, taskTimeout(2*time.Second), []string{"given"}, 0)
			soFar := func() []string {
				var answer []string
				value, err := s.client.QueryWorkflow(s.context(), run.GetID(), run.GetRunID(), "so far")
				require.NoError(s, err)
				require.NoError(s, value.Get(&answer))
				return answer
			}
			require.Equal(s, []string{"given"}, soFar())
			w.Stop()
			require.NoError(s, s.client.SignalWorkflow(s.context(), run.GetID(), "", "add", "x"))
			task, err := s.client.WorkflowService().PollWorkflowTaskQueue(s.context(), &workflowservice.PollWorkflowTaskQueueRequest{
				Namespace: "default", TaskQueue: &taskqueuepb.TaskQueue{Name: s.queue}, Identity: "one that loses its task",
			})
			require.NoError(s, err)
			require.NotEmpty(s, task.GetTaskToken())
			lost := enumspb.EVENT_TYPE_WORKFLOW_TASK_TIMED_OUT
			if how == "failed" {
				lost = enumspb.EVENT_TYPE_WORKFLOW_TASK_FAILED
				_, err = s.client.WorkflowService().RespondWorkflowTaskFailed(s.context(), &workflowservice.RespondWorkflowTaskFailedRequest{
					Namespace: "default", TaskToken: task.GetTaskToken(),
					Cause: enumspb.WORKFLOW_TASK_FAILED_CAUSE_WORKFLOW_WORKER_UNHANDLED_FAILURE,
				})
				require.NoError(s, err)
			}
			s.eventually("the task is lost", func() bool { return count(s.history(run.GetID(), run.GetRunID()), lost) == 1 })
			require.NoError(s, s.client.TerminateWorkflow(s.context(), run.GetID(), "", "enough"))
			s.worker(worker.Options{})
			require.Contains(s, soFar(), "given")
		})
	}
}

func TestAnUpdateIsServedOrRefusedInSoManyWords(t *testing.T) {
	s := newStage(t, messageFlows)
	s.worker(worker.Options{})
	run := s.start(collects, nil, []string{}, 0)
	handle, err := s.client.UpdateWorkflow(s.context(), client.UpdateWorkflowOptions{
		WorkflowID: run.GetID(), UpdateName: "add", Args: []any{"x"}, WaitForStage: client.WorkflowUpdateStageCompleted,
	})
	if err != nil {
		var refused *serviceerror.Unimplemented
		require.ErrorAs(s, err, &refused)
		require.Contains(s, err.Error(), "not implemented")
		require.NoError(s, s.client.SignalWorkflow(s.context(), run.GetID(), "", "add", "end"))
		require.Empty(s, result[[]string](s, run))
		return
	}
	var length int
	require.NoError(s, handle.Get(s.context(), &length))
	require.Equal(s, 1, length)
}

func TestSignalsAndCancellationBetweenWorkflows(t *testing.T) {
	s := newStage(t, messageFlows)
	s.worker(worker.Options{})
	target := s.start(collects, named(s.id("target")), []string{}, 0)
	require.Equal(s, "sent", result[string](s, s.start(sends, named(s.id("signal")), target.GetID(), false)))
	require.Equal(s, "sent", result[string](s, s.start(sends, named(s.id("cancel")), target.GetID(), true)))
	require.Equal(s, "failed", result[string](s, s.start(sends, named(s.id("stray")), s.id("missing"), false)))
	history := s.history(target.GetID(), target.GetRunID())
	require.Equal(s, 1, count(history, enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED))
	require.Equal(s, 1, count(history, enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_CANCEL_REQUESTED))
}

var (
	colour = temporal.NewSearchAttributeKeyKeyword("ConformanceKeyword")
	size   = temporal.NewSearchAttributeKeyInt64("ConformanceInt")
)

func upserts(ctx workflow.Context) (string, error) {
	nap(ctx)
	if err := workflow.UpsertTypedSearchAttributes(ctx, colour.ValueSet("green"), size.ValueUnset()); err != nil {
		return "", err
	}
	if err := workflow.UpsertMemo(ctx, map[string]any{"note": "changed"}); err != nil {
		return "", err
	}
	nap(ctx)
	value, _ := workflow.GetTypedSearchAttributes(ctx).GetKeyword(colour)
	return value, nil
}

func TestTypedSearchAttributesMemoAndSummaries(t *testing.T) {
	s := newStage(t, func(r registry) { r.RegisterWorkflow(upserts) })
	s.worker(worker.Options{})
	run := s.start(upserts, func(options *client.StartWorkflowOptions) {
		options.TypedSearchAttributes = temporal.NewSearchAttributes(colour.ValueSet("red"), size.ValueSet(7))
		options.Memo = map[string]any{"note": "first", "kept": 1}
		options.StaticSummary = "a summary"
		options.Priority = temporal.Priority{PriorityKey: 2}
	})
	require.Equal(s, "green", result[string](s, run))
	described, err := s.client.DescribeWorkflow(s.context(), run.GetID(), run.GetRunID())
	require.NoError(s, err)
	value, found := described.TypedSearchAttributes.GetKeyword(colour)
	require.True(s, found)
	require.Equal(s, "green", value)
	_, found = described.TypedSearchAttributes.GetInt64(size)
	require.False(s, found)
	summary, err := described.GetStaticSummary()
	require.NoError(s, err)
	require.Equal(s, "a summary", summary)
	raw, err := s.client.DescribeWorkflowExecution(s.context(), run.GetID(), run.GetRunID())
	require.NoError(s, err)
	fields := raw.GetWorkflowExecutionInfo().GetMemo().GetFields()
	require.Equal(s, `"changed"`, string(fields["note"].GetData()))
	require.Equal(s, "1", string(fields["kept"].GetData()))
	require.EqualValues(s, 2, raw.GetWorkflowExecutionInfo().GetPriority().GetPriorityKey())
	require.WithinDuration(s, time.Now(), described.WorkflowCloseTime.UTC(), time.Minute)
}
