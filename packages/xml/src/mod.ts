/** XML as trees that are written as they were read. */
export * from './write-xml.ts';
export * from './xml.ts';
export * from './xml-query.ts';
export * from './xml-reading.ts';
