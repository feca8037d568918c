# Build, test, pack, verify, publish: a small release pipeline for a directory of
# Markdown files, which it makes into one book. Shown here: a matrix, conditions,
# retries, timeouts, what to do when something failed.
#
#   rota run examples/build-pipeline.hcl --var src=$PWD/docs --follow
#   rota run examples/build-pipeline.hcl --var src=$PWD/docs --var publish_to=/tmp/books --wait
#
# The tasks hand files to each other through a directory that all nodes see: one
# machine, or a shared file system. It is named after the run, so that two runs
# never meet.

variable "src" {
  type        = string
  description = "Absolute path of the directory with the *.md files."
  validation {
    condition     = startswith(var.src, "/")
    error_message = "src must be absolute, such as --var src=$PWD/docs."
  }
}

variable "work" {
  type        = string
  default     = "/tmp/rota-build"
  description = "Directory for what is built, shared by the nodes."
}

variable "publish_to" {
  type        = string
  default     = ""
  description = "Directory to publish to; empty: build and test only."
}

variable "max_problems" {
  type        = number
  default     = 1000
  description = "With more problems than this nothing is packed."
}

locals {
  # run.id is only known once the run exists, so it stands where it is used: in the
  # commands of the tasks.
  checks = {
    # name = a program for awk that prints one line per problem
    headings = "/^#/ && !/^#+ / { print FILENAME \":\" FNR \": no blank after #\" }"
    tabs     = "/\\t/ { print FILENAME \":\" FNR \": a tab\" }"
    length   = "length($0) > 200 { print FILENAME \":\" FNR \": a long line\" }"
  }
}

job "build-pipeline" {
  # One task failed for good: what does not depend on it goes on ("continue"), or
  # everything is cancelled ("cancel").
  on_task_failure = "continue"

  task "build" {
    type = "build"
    command = [
      "sh", "-euc",
      <<-SH
        mkdir -p "$2"
        cd "$1"
        find . -name '*.md' -type f | LC_ALL=C sort > "$2/chapters"
        [ -s "$2/chapters" ] || { echo "no *.md below $1" >&2; exit 1; }
        {
          echo "# Contents"; echo
          awk '{ sub(/^\.\//, ""); print "- " $0 }' "$2/chapters"
          while read -r chapter; do echo; cat "$chapter"; done < "$2/chapters"
        } > "$2/book.md"
        wc -l < "$2/book.md"
      SH
      , "build", var.src, "${var.work}/${run.id}",
    ]
    output {
      type = "json"
    }
    timeouts {
      schedule_to_start = "10m" # in the queue
      start_to_close    = "2m"  # each attempt
      schedule_to_close = "30m" # all attempts together
    }

    # Asked to stop it gets SIGINT, and five seconds to tidy up before it is killed.
    stop {
      signal = "SIGINT"
      grace  = "5s"
    }
  }

  # Three tests side by side, on the sources. A test that finds problems has still
  # done its work; one that cannot run at all must not stop the others.
  task "test" {
    type          = "test"
    for_each      = local.checks
    depends_on    = [task.build]
    allow_failure = true
    command = [
      "sh", "-euc", "cd \"$1\"; find . -name '*.md' -type f -exec awk \"$2\" {} + > \"$3\"; wc -l < \"$3\"",
      "test", var.src, each.value, "${var.work}/${run.id}/problems-${each.key}",
    ]
    output {
      type = "json"
    }
    retry {
      max_attempts = 2
      backoff      = "fixed"
      initial      = "1s"
    }
  }

  # The packages: every combination of the axes, without one that makes no sense,
  # with one more. The tasks are called pack[tar.gz,fast], pack[tar.gz,small] ...
  task "pack" {
    type = "pack"
    matrix {
      format  = ["tar.gz", "md.gz"]
      effort  = ["fast", "small"]
      exclude = [{ format = "md.gz", effort = "fast" }]
      include = [{ format = "tar", effort = "none" }]
    }

    # The output of a test that failed is null, which coalesce turns into 0.
    when = sum([for t in task.test : coalesce(t.output, 0)]) <= var.max_problems
    command = [
      "sh", "-euc",
      <<-SH
        cd "$1"
        out="book-$3.$2"
        case "$3" in fast) level=-1 ;; *) level=-9 ;; esac
        case "$2" in
          tar)    tar -cf "$out" chapters book.md ;;
          tar.gz) tar -cf - chapters book.md | gzip -n $level > "$out" ;;
          md.gz)  gzip -n -c $level book.md > "$out" ;;
        esac
        sha256sum "$out" > "$out.sha256"
        echo "{\"file\": \"$out\", \"bytes\": $(wc -c < "$out"), \"sha256\": \"$(cut -d ' ' -f 1 "$out.sha256")\"}"
      SH
      , "pack", "${var.work}/${run.id}", matrix.format, matrix.effort,
    ]
    output {
      type = "json"
    }
    resources {
      cpu    = 1
      memory = "128MiB"
    }
  }

  # One package must unpack to what was packed. An index made of constants names one
  # instance: this task waits for that one only.
  task "verify" {
    type = "test"
    command = [
      "sh", "-euc",
      "cd \"$1\"; sha256sum -c \"$2.sha256\"; mkdir -p unpacked; tar -xzf \"$2\" -C unpacked; cmp book.md unpacked/book.md; echo good",
      "verify", "${var.work}/${run.id}", task.pack["tar.gz,small"].output.file,
    ]
    output {}
  }

  # Publishing happens at most once and only with a target. It takes a lock that
  # another run may hold: each attempt tries for it, a second apart.
  task "publish" {
    type       = "deliver"
    depends_on = [task.verify]
    when       = var.publish_to != ""
    rerun      = "ask"
    command = concat(
      [
        "sh", "-euc",
        <<-SH
          from=$1 to=$2
          shift 2
          mkdir -p "$to"
          mkdir "$to/.lock" || { echo "another run is publishing" >&2; exit 75; }
          trap 'rmdir "$to/.lock"' EXIT
          for file; do cp "$from/$file" "$to/.new" && mv "$to/.new" "$to/$file"; done
          echo "$# files in $to"
        SH
        , "publish", "${var.work}/${run.id}", var.publish_to,
      ],
      [for p in task.pack : p.output.file],
    )
    output {}
    retry {
      max_attempts = 30
      backoff      = "fixed"
      initial      = "1s"
      jitter       = false
      on           = ["exit_nonzero"]
    }
  }

  # Something failed for good? This task runs only then, and is skipped otherwise.
  task "failed" {
    after_failure = [task.build]
    command       = ["sh", "-euc", "echo \"The book could not be built: see the log of build.\" >&2"]
  }

  # And this one comes after whatever happened. pack is waited for as well, since it
  # is mentioned; after_any lists those that may have been skipped or failed.
  task "summary" {
    after_any = [task.build, task.test, task.pack, task.verify, task.publish]
    command = concat(
      ["printf", "%s\n", "book: ${task.build.status}, ${coalesce(task.build.output, 0)} lines"],
      [for name, t in task.test : format("test %-9s %s, %d problems", name, t.status, coalesce(t.output, 0))],
      [for p in task.pack : try("pack ${p.output.file}, ${p.output.bytes} bytes", "pack ${p.status}")],
      ["verify: ${task.verify.status}", "publish: ${coalesce(task.publish.output, task.publish.status)}"],
    )
    output {}
  }
}
