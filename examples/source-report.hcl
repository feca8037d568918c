# A report on a source tree: how much of which language, the largest files, files
# that are copies of each other, notes left in the code. One task per language looks
# at the tree, side by side with the others (fan-out); one gathers what they found
# (fan-in).
#
#   rota run examples/source-report.hcl --var root=$PWD --follow
#   rota run examples/source-report.hcl --var root=$PWD --var save_to=/tmp/report.md --wait
#
# The directory must be there on every node: one machine, or a shared file system.

variable "root" {
  type        = string
  description = "Absolute path of the tree to look at."
  validation {
    condition     = startswith(var.root, "/")
    error_message = "root must be absolute, such as --var root=$PWD."
  }
}

variable "languages" {
  type        = map(list(string))
  description = "File name patterns by language."
  default = {
    c        = ["*.c", "*.h"]
    go       = ["*.go"]
    hcl      = ["*.hcl"]
    markdown = ["*.md"]
    python   = ["*.py"]
    shell    = ["*.sh"]
  }
}

variable "notes" {
  type        = string
  default     = "FIXME|XXX|HACK"
  description = "Extended regular expression of the words that mark unfinished places."
}

variable "save_to" {
  type        = string
  default     = ""
  description = "Where to write the report as a file; empty: only into the run."
}

locals {
  # find ROOT, without version control and dependencies. Arguments that several
  # commands share are best written once.
  find = [
    "find", var.root, "-type", "d", "(", "-name", ".git", "-o", "-name", "node_modules", "-o", "-name", "vendor", ")", "-prune",
    "-o", "-type", "f",
  ]

  # Begins every script below: "$@" is the find command with what a task added to
  # it, its result a list of names, each ended by a NUL byte (names may hold blanks).
  list = <<-SH
    "$@" -print0 > files
    [ -s files ] || { echo "$NOTHING"; exit 0; }
  SH
}

job "source-report" {
  defaults {
    timeouts {
      start_to_close = "10m"
    }
    resources {
      cpu    = 0.5
      memory = "128MiB"
    }
  }

  # Fails at once, with a message, if the tree is not there: the others are then
  # skipped instead of failing one by one.
  task "tree" {
    command = ["sh", "-euc", "cd \"$1\" && ls -A | wc -l", "tree", var.root]
    output {
      type = "json" # a number is JSON, too
    }
  }

  # One task per language. each.key is the language and each.value its patterns; the
  # expression makes  ( -name A -o -name B )  of them. Every attempt starts in a
  # fresh, empty directory of its own: "files" is written there.
  task "count" {
    for_each   = var.languages
    depends_on = [task.tree]
    env        = { NOTHING = "{\"files\": 0, \"lines\": 0, \"bytes\": 0, \"largest\": \"\"}" }
    command = concat(
      [
        "sh", "-euc",
        <<-SH
          ${local.list}
          count=$(tr -cd '\000' < files | wc -c)
          lines=$(xargs -0 cat < files | wc -l)
          bytes=$(xargs -0 cat < files | wc -c)
          largest=$(xargs -0 -n 1 wc -c < files | sort -rn | head -n 1 | sed 's/^ *[0-9]* //; s/\\/\\\\/g; s/"/\\"/g')
          echo "{\"files\": $count, \"lines\": $lines, \"bytes\": $bytes, \"largest\": \"$largest\"}"
        SH
        , "count",
      ],
      local.find, ["("], flatten([for i, p in each.value : concat(i == 0 ? [] : ["-o"], ["-name", p])]), [")"],
    )
    output {
      type = "json"
    }
  }

  # Which files are the same, byte by byte? Sort the checksums and look at
  # neighbours.
  task "copies" {
    depends_on = [task.tree]
    env        = { NOTHING = "{\"files\": 0, \"bytes\": 0}" }
    command = concat(
      [
        "sh", "-euc",
        <<-SH
          ${local.list}
          xargs -0 sha256sum < files | sort > sums
          awk '{ sum = $1; if (sum == last) { sub(/^[^ ]*  /, ""); print } last = sum }' sums > again
          bytes=0
          if [ -s again ]; then bytes=$(tr '\n' '\000' < again | xargs -0 cat | wc -c); fi
          echo "{\"files\": $(wc -l < again), \"bytes\": $bytes}"
        SH
        , "copies",
      ],
      local.find, ["-size", "+0"],
    )
    output {
      type = "json"
    }
  }

  # A text output: what is printed, the last 64 KiB of it.
  task "notes" {
    depends_on = [task.tree]
    env        = { NOTHING = "none", NOTES = var.notes }
    command = concat(
      [
        "sh", "-euc",
        <<-SH
          ${local.list}
          xargs -0 grep -IHoE "$NOTES" < files > found || true   # finding nothing is no failure
          cut -d : -f 1 found | sort | uniq -c | sort -rn | head -n 5
        SH
        , "notes",
      ],
      local.find,
    )
    output {}
  }

  # The fan-in: task.count is a map from the language to its task. Languages without
  # files are left out of the table.
  task "report" {
    command = concat(
      ["printf", "%s\n", "# ${var.root}", "", "| language | files | lines | KiB | largest file |", "|---|---:|---:|---:|---|"],
      [
        for name, t in task.count :
        "| ${name} | ${t.output.files} | ${t.output.lines} | ${ceil(t.output.bytes / 1024)} | ${trimprefix(t.output.largest, "${var.root}/")} |"
        if t.output.files > 0
      ],
      [
        "| all | ${sum(values(task.count)[*].output.files)} | ${sum(values(task.count)[*].output.lines)} | ${ceil(sum(values(task.count)[*].output.bytes) / 1024)} | |",
        "", "${task.copies.output.files} files are copies of others (${ceil(task.copies.output.bytes / 1024)} KiB).",
        "", "Most notes (${var.notes}):", "", coalesce(task.notes.output, "none"),
      ],
    )
    output {}
  }

  # Only if asked for: a task whose "when" is false is skipped, which is no failure.
  task "save" {
    when    = var.save_to != ""
    command = ["sh", "-euc", "printf '%s\\n' \"$1\" > \"$2\"", "save", task.report.output, var.save_to]
  }
}
