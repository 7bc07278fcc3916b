package conformance

import (
	"testing"

	"github.com/stretchr/testify/require"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
)

var closing = map[enumspb.EventType]bool{
	enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED:        true,
	enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED:           true,
	enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED:         true,
	enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED:       true,
	enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_TIMED_OUT:        true,
	enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW: true,
}

// names are the event types of a history, in order: "WorkflowExecutionStarted" and so on.
func names(history []*historypb.HistoryEvent) []string {
	result := make([]string, len(history))
	for i, event := range history {
		result[i] = event.GetEventType().String()
	}
	return result
}

// count says how many events of a type there are.
func count(history []*historypb.HistoryEvent, kind enumspb.EventType) int {
	found := 0
	for _, event := range history {
		if event.GetEventType() == kind {
			found++
		}
	}
	return found
}

// checkLaws holds a history against what is true of every history.
func checkLaws(t *testing.T, history []*historypb.HistoryEvent) {
	require.NotEmpty(t, history)
	shape := names(history)
	require.Equal(t, enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED, history[0].GetEventType())
	timers := map[int64]*historypb.HistoryEvent{}
	ended := map[int64]bool{}
	var open, started int64
	for i, event := range history {
		require.Equal(t, int64(i+1), event.GetEventId(), "ids are contiguous: %v", shape)
		if closing[event.GetEventType()] {
			require.Equal(t, len(history), i+1, "nothing follows the closing event: %v", shape)
		}
		switch event.GetEventType() {
		case enumspb.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED:
			require.Zero(t, open, "one workflow task at a time: %v", shape)
			open, started = event.GetEventId(), 0
		case enumspb.EVENT_TYPE_WORKFLOW_TASK_STARTED:
			require.Equal(t, open, event.GetWorkflowTaskStartedEventAttributes().GetScheduledEventId(), "%v", shape)
			started = event.GetEventId()
		case enumspb.EVENT_TYPE_WORKFLOW_TASK_COMPLETED:
			end := event.GetWorkflowTaskCompletedEventAttributes()
			require.Equal(t, open, end.GetScheduledEventId(), "%v", shape)
			require.Equal(t, started, end.GetStartedEventId(), "%v", shape)
			require.Equal(t, started+1, event.GetEventId(), "completed follows started: %v", shape)
			open = 0
		case enumspb.EVENT_TYPE_WORKFLOW_TASK_FAILED:
			require.Equal(t, open, event.GetWorkflowTaskFailedEventAttributes().GetScheduledEventId(), "%v", shape)
			open = 0
		case enumspb.EVENT_TYPE_WORKFLOW_TASK_TIMED_OUT:
			require.Equal(t, open, event.GetWorkflowTaskTimedOutEventAttributes().GetScheduledEventId(), "%v", shape)
			open = 0
		case enumspb.EVENT_TYPE_TIMER_STARTED:
			timers[event.GetEventId()] = event
		case enumspb.EVENT_TYPE_TIMER_FIRED:
			id := event.GetTimerFiredEventAttributes().GetStartedEventId()
			timer := timers[id]
			require.NotNil(t, timer, "a timer that fires was started: %v", shape)
			require.False(t, ended[id], "a timer ends once: %v", shape)
			ended[id] = true
			waited := event.GetEventTime().AsTime().Sub(timer.GetEventTime().AsTime())
			asked := timer.GetTimerStartedEventAttributes().GetStartToFireTimeout().AsDuration()
			require.GreaterOrEqual(t, waited, asked, "no timer fires early")
		case enumspb.EVENT_TYPE_TIMER_CANCELED:
			id := event.GetTimerCanceledEventAttributes().GetStartedEventId()
			require.False(t, ended[id], "a timer ends once: %v", shape)
			ended[id] = true
		}
	}
}
