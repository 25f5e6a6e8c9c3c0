package browser

import "syscall"

// dieWithUs makes the kernel end the process when the tests end without their cleanup, by a timeout's panic or a kill.
func dieWithUs() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
