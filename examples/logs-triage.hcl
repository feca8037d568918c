# Looks through a directory of logs: how bad is it, what is it mostly, since when?
# If it is bad enough, it writes an incident file.
#
#   rota run examples/logs-triage.hcl --var logs=/var/log --follow
#   rota run examples/logs-triage.hcl --var logs=/var/log --var alarm_at=1 --wait
#
# Logs that cannot be read are left out, rotated ones (.gz) are read as well.

variable "logs" {
  type        = string
  default     = "/var/log"
  description = "Absolute path of the directory to look through."
}

variable "alarm_at" {
  type        = number
  default     = 100
  description = "So many bad lines make an incident."
}

variable "incidents" {
  type        = string
  default     = "/tmp"
  description = "Directory for incident files."
}

locals {
  # What to look for, worst first. The keys name the tasks: scan[1-fatal] ...
  kinds = {
    "1-fatal"   = { pattern = "panic|fatal|segfault|out of memory|oom-kill", bad = true }
    "2-error"   = { pattern = "error|exception|failed|failure", bad = true }
    "3-warning" = { pattern = "warn", bad = false }
  }
}

job "logs-triage" {
  priority = 70 # before what the cluster does for later

  defaults {
    retry {
      max_attempts = 3
      backoff      = "exponential"
      initial      = "500ms"
      on           = ["exit_nonzero", "timeout_run"] # a log that is rotated away while it is read
    }
    timeouts {
      start_to_close = "5m"
    }
  }

  # One task per kind. It prints JSON: how many lines, and the commonest messages
  # with everything that differs from line to line (numbers, addresses) made equal.
  task "scan" {
    type     = "scan"
    for_each = local.kinds
    command = [
      "sh", "-euc",
      <<-'SH'
        unused=1
      SH
      , "scan", var.logs, each.value.pattern,
    ]
    output {
      type = "json"
    }
  }
}
