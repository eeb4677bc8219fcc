/** What a quote says about the machine that it was made on. */
export interface PlatformClaims {
  readonly quoteVersion: 3 | 4 | 5;
  /** From the PCK certificate, lower-case hex; absent where it could not be read. */
  readonly fmspc?: string;
  readonly ppid?: string;
  readonly pceId?: string;
  readonly pceSvn?: number;
  /** Which of Intel's authorities certified the machine. */
  readonly authority?: "platform" | "processor";
  /** 0 standard, 1 scalable, 2 scalable with integrity. */
  readonly sgxType?: number;
  readonly platformInstanceId?: string;
  readonly smtEnabled?: boolean;
  /** Of the TCB info that was used. */
  readonly tcbEvaluationDataNumber?: number;
  /** Of the level that was met; milliseconds since the epoch. */
  readonly tcbDate?: number;
  /** Bytes after the quote that nothing signs. */
  readonly trailingBytes: number;
}
