#!/usr/bin/env bash
# Software: github.com/robfig/cron/v3 3.0.1 (the cron parser of many Go programs), Go's own zone data.
#
# Where clocks are set forward at midnight, the local day that begins at 01:00 is taken for the day before it: a schedule
# for Thursdays fires on the Friday after the change, and one for Fridays skips that Friday. (Africa/Cairo, Friday
# 2026-04-24, whose 00:00 does not exist. Thursdays and Fridays of other weeks are right.)
#
# Output seen:
#   thu: Fri 2026-04-24 16:00, Thu 2026-04-30 16:00
#   fri: Fri 2026-05-01 16:00, Fri 2026-05-08 16:00
set -euo pipefail

folder=$(mktemp -d)
trap 'chmod -R u+w "$folder"; rm -rf "$folder"' EXIT
cd "$folder"

cat >go.mod <<'GO'
module finding

go 1.22

require github.com/robfig/cron/v3 v3.0.1
GO
cat >main.go <<'GO'
package main

import (
	"fmt"
	"time"
	_ "time/tzdata"

	"github.com/robfig/cron/v3"
)

func main() {
	cairo, err := time.LoadLocation("Africa/Cairo")
	if err != nil {
		panic(err)
	}
	for _, day := range []string{"thu", "fri"} {
		schedule, err := cron.ParseStandard("CRON_TZ=Africa/Cairo 0 16 * * " + day)
		if err != nil {
			panic(err)
		}
		// Thursday, an hour or so after that day's 16:00.
		first := schedule.Next(time.Date(2026, 4, 23, 17, 30, 0, 0, cairo))
		second := schedule.Next(first)
		const shown = "Mon 2006-01-02 15:04"
		fmt.Printf("%s: %s, %s\n", day, first.In(cairo).Format(shown), second.In(cairo).Format(shown))
	}
}
GO
GOFLAGS=-mod=mod go mod tidy >/dev/null 2>&1
seen=$(timeout 60 go run .)
expected='thu: Fri 2026-04-24 16:00, Thu 2026-04-30 16:00
fri: Fri 2026-05-01 16:00, Fri 2026-05-08 16:00'
printf '%s\n' "$seen"
[ "$seen" = "$expected" ] || { echo "this is not what was seen before" >&2; exit 1; }
