job "j" {
  task "a" {
    command = ["true"]
    constraint {
      attribute = "node.name"
      operator  = "regexp"
      value     = "((a|b){30}){30}"
    }
  }
}
