# Looks through a directory of logs: how bad is it, and what is it mostly? If it is
# bad enough, it writes an incident file.
#
#   rota run examples/logs-triage.hcl --follow
#   rota run examples/logs-triage.hcl --var logs=$PWD/logs --var alarm_at=1 --wait
#
# Logs that cannot be read are left out; rotated ones (*.gz) are read as well.

variable "logs" {
  type        = string
  default     = "/var/log"
  description = "Absolute path of the directory to look through."
  validation {
    condition     = startswith(var.logs, "/")
    error_message = "logs must be absolute, such as --var logs=$PWD/logs."
  }
}

variable "alarm_at" {
  type        = number
  default     = 100
  description = "This many bad lines make an incident."
}

variable "incidents" {
  type        = string
  default     = "/tmp"
  description = "Directory for incident files."
}

locals {
  # What to look for. The keys name the tasks: scan[fatal], scan[error] ...
  kinds = {
    fatal   = { pattern = "panic|fatal|segfault|out of memory", bad = true }
    error   = { pattern = "error|exception|failed|failure", bad = true }
    warning = { pattern = "warn", bad = false }
  }
}

job "logs-triage" {
  priority = 70 # before what the cluster does for later

  # A log may be rotated away while it is read: try again after half a second, a
  # second, two. Other causes (a command that is missing, say) would not get better.
  defaults {
    retry {
      max_attempts = 3
      backoff      = "exponential"
      initial      = "500ms"
      on           = ["exit_nonzero", "timeout_run"]
    }
    timeouts {
      start_to_close = "5m"
    }
  }

  # One task per kind of line. Its output is JSON: how many there are, and the
  # commonest messages, with everything made equal that differs from line to line.
  # awk writes the JSON, so that quotes in a message cannot break it.
  task "scan" {
    type     = "scan"
    for_each = local.kinds
    command = [
      "sh", "-euc",
      <<-SH
        cd "$1"
        find . -type f \( -name '*.log' -o -name '*.log.*' -o -name messages -o -name syslog \) -exec cat {} + 2> /dev/null |
          if find . -name '*.gz' 2> /dev/null | grep -q .; then
            cat; find . -type f -name '*.gz' -exec gzip -cd {} + 2> /dev/null
          else
            cat
          fi |
          grep -aiE "$2" |
          LC_ALL=C sed -E 's/[0-9a-f]{8,}/ID/g; s/[0-9]+/N/g; s/^.{0,40}N:N:N[^ ]* //; s/[^ -~]/?/g; s/\\/\//g' |
          cut -c 1-160 | sort | uniq -c | sort -rn |
          awk '
            function text(s) { gsub(/"/, "\\\"", s); return "\"" s "\"" }
            { n = $1; total += n; sub(/^ *[0-9]+ /, "") }
            NR <= 5 { top = top (NR > 1 ? "," : "") "{\"count\":" n ",\"message\":" text($0) "}" }
            END { printf "{\"total\":%d,\"kinds\":%d,\"top\":[%s]}\n", total, NR, top }
          '
      SH
      , "scan", var.logs, each.value.pattern,
    ]
    output {
      type = "json"
    }
  }

  # The sum over the bad kinds, as a value of its own. A task without a program of
  # its own would do, but then nobody could read its output later.
  task "verdict" {
    command = [
      "echo",
      jsonencode({
        bad   = sum([for kind, t in task.scan : t.output.total if local.kinds[kind].bad])
        total = sum(values(task.scan)[*].output.total)
        worst = concat([for t in values(task.scan) : [for m in t.output.top : m.message]]...)
      }),
    ]
    output {
      type = "json"
    }
  }

  # Either of the next two runs, never both: "when" is evaluated after the tasks
  # that it mentions.
  task "incident" {
    when = task.verdict.output.bad >= var.alarm_at

    # Everything in the input block is one JSON object in the file $ROTA_INPUT: the
    # way for values that are too long, or too odd, for a command line.
    input {
      run  = run.id
      logs = var.logs
      bad  = task.verdict.output.bad
      top  = { for kind, t in task.scan : kind => t.output.top }
    }
    command = ["sh", "-euc", "mkdir -p \"$1\"; cp \"$ROTA_INPUT\" \"$1/$2\"; echo \"$1/$2\"", "incident", var.incidents, "incident-${run.id}.json"]

    # If the node dies in the middle, a person decides whether to do it again.
    rerun = "ask"
    output {}
  }

  task "all-clear" {
    when    = task.verdict.output.bad < var.alarm_at
    command = ["echo", "${task.verdict.output.bad} bad lines, fewer than ${var.alarm_at}: nothing to do"]
    output {}
  }

  # Whichever of them ran, this one comes last: after_any waits for the end of a
  # task, whatever it is. The output of a task that was skipped is null.
  task "summary" {
    after_any = [task.incident, task.all-clear]
    command = concat(
      ["printf", "%s\n", "${var.logs}: ${task.verdict.output.total} lines worth a look, ${task.verdict.output.bad} of them bad"],
      [for kind, t in task.scan : format("  %-8s %6d lines, %d kinds of messages", kind, t.output.total, t.output.kinds)],
      [for m in slice(task.verdict.output.worst, 0, min(3, length(task.verdict.output.worst))) : "  - ${m}"],
      [task.incident.output != null ? "incident file: ${coalesce(task.incident.output, "-")}" : coalesce(task["all-clear"].output, "no verdict")],
    )
    output {}
  }
}
