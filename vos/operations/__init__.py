"""What can be done with volumes, without a command line: functions of a `Subject`, in modules by theme.

They raise OperationFailed where stock vos says what it could not do, having said it on the session's output too, and
RxError where a call failed that nothing can be said of.
"""
