# The job of `make demo`: a search for prime numbers in three slices, with a slow
# check beside it. Small numbers, but the shapes of a large job:
#
#   plan ──┬── search[first] ──┐
#          ├── search[second] ─┼── report
#          ├── search[third] ──┤
#          └── check ──────────┘        (5 s: time enough to kill its node)
#
#   rota run examples/demo.hcl --follow
#   rota run examples/demo.hcl --var to=900000 --follow

variable "to" {
  type        = number
  default     = 150000
  description = "Primes are searched for up to this number."
  validation {
    condition     = var.to >= 30 && var.to <= 10000000
    error_message = "Choose a number between 30 and 10000000."
  }
}

locals {
  # The slices of the search. A map, because a fan-out needs names, not positions:
  # the tasks are called search[first], search[second], search[third].
  slices = {
    first  = 0
    second = 1
    third  = 2
  }
}

job "demo" {
  # What every task gets that does not say otherwise. (An attempt that is lost with
  # its node does not count here: Rota runs the task again elsewhere.)
  defaults {
    retry {
      max_attempts = 2
      initial      = "200ms"
    }
  }

  # 1. Plan. What it prints is JSON, so that the tasks below can use the fields of
  #    its output as numbers. A command is a list of words and goes through no shell
  #    by itself: here the program is a shell, and $1 the word after the script's
  #    name.
  task "plan" {
    command = [
      "sh", "-euc", "echo \"{\\\"width\\\": $(($1 / 3)), \\\"known\\\": [2, 97, 7919, 104729, 149993]}\"",
      "plan", var.to,
    ]
    output {
      type = "json"
    }
  }

  # 2. Search: one task per slice, side by side. That it mentions task.plan is what
  #    makes it wait for plan; there is nothing else to declare.
  task "search" {
    for_each = local.slices
    command = [
      "awk",
      "-v", "from=${each.value * task.plan.output.width + 1}",
      "-v", "to=${(each.value + 1) * task.plan.output.width}",
      <<-AWK
        function prime(n,   d) {
          if (n < 2) return 0
          for (d = 2; d * d <= n; d++) if (n % d == 0) return 0
          return 1
        }
        BEGIN {
          for (n = from; n <= to; n++) if (prime(n)) { count++; largest = n }
          printf "{\"from\": %d, \"to\": %d, \"count\": %d, \"largest\": %d}\n", from, to, count, largest
        }
      AWK
    ]
    output {
      type = "json"
    }
  }

  # 3. Check: the slow one, a second for each number. Kill the node it runs on and
  #    watch it begin again on another one. What it says on stderr is only logged;
  #    what it says on stdout becomes its output.
  task "check" {
    command = concat(
      [
        "sh", "-euc",
        <<-SH
          ok=0
          for n; do
            sleep 1
            if [ "$(factor "$n")" = "$n: $n" ]; then ok=$((ok + 1)); fi
            echo "$n is prime (attempt $ROTA_ATTEMPT, on $ROTA_NODE)" >&2
          done
          echo "$ok of $# known primes confirmed"
        SH
        , "check",
      ],
      task.plan.output.known,
    )
    output {}
    timeouts {
      start_to_close = "1m"
    }
  }

  # 4. Report: the fan-in. task.search is a map by the names of the slices, and the
  #    outputs in it are values to calculate with.
  task "report" {
    command = concat(
      ["printf", "%s\n", "Primes up to ${var.to}"],
      [
        for name, t in task.search :
        format("  %-7s%7d to %6d:%6d primes, the largest is %6d  (on %s)", name, t.output.from, t.output.to, t.output.count, t.output.largest, t.node)
      ],
      [
        format("  together %13s:%6d primes, the largest is %6d", "", sum(values(task.search)[*].output.count), max(values(task.search)[*].output.largest...)),
        "  ${task.check.output}  (on ${task.check.node}, attempt ${task.check.attempts})",
      ],
    )
    output {}
  }
}
